"""Levels of a representation, rendered in boxes of whole patches, and what shows between blocks."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from operator import index
from typing import NamedTuple

import torch
from torch import Tensor

from miner.models.network import BlockNetwork, Parameters, concatenate, moved, select
from miner.pyramids.resample import predicted_signal, reduced_signal
from miner.representation.shard import Shard
from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid, coordinates
from miner.signals.regions import Region, sides_of, slices, whole
from miner.signals.signal import ReadRegion, Signal, SourceSignal

_BATCH_PIXELS = 2**18
_DEVICE_BATCH_PIXELS = 2**20  # fewer leave a GPU idle
_CELL_SIDE = 256  # pixels of a coarse block that are evaluated at once

Outputs = Callable[[BlockNetwork, Parameters, Tensor], Tensor]
"""Gives values `(B, C, P)` of a network's decoded blocks at encoded coordinates `(E, P)`."""


def box_of(spec: Spec, level: int, region: Region | None) -> Region:
    """The region, or all of a level; `ValueError` for no such level or a region outside it."""
    if not 0 <= level < spec.n_levels:
        raise ValueError(f"level={level}: must be 0 (full size) to {spec.n_levels - 1}")
    sides = spec.level_sides[level]
    with suppress(TypeError, ValueError):  # of what are no pairs of whole numbers
        pairs = whole(sides) if region is None else region
        box = tuple((index(low), index(high)) for low, high in pairs)
        if all(0 <= low < high <= n for (low, high), n in zip(box, sides, strict=True)):
            return box
    raise ValueError(f"region={region}: must lie within {sides}, as (first, end) pairs")


def device_of(name: str | torch.device) -> torch.device:
    """A device by its name; `ValueError` for one that is not there."""
    with suppress(AssertionError, RuntimeError, TypeError):
        return torch.empty(0, device=name).device
    raise ValueError(f"device={name}: must be cpu, or cuda or cuda:1 where it is")


class ShardIndex:
    """All shards of a level, found by the positions of their blocks."""

    def __init__(self, grid: PatchGrid, shards: Sequence[Shard]) -> None:
        self._grid, self._shards = grid, [shard for shard in shards if len(shard.blocks)]
        positions, n_axes = [grid.positions(s.blocks) for s in self._shards], len(grid.sides)
        self._first = torch.tensor([p.amin(0).tolist() for p in positions]).reshape(-1, n_axes)
        self._last = torch.tensor([p.amax(0).tolist() for p in positions]).reshape(-1, n_axes)

    def near(self, first: Sequence[int] | Tensor, end: Sequence[int] | Tensor) -> list[Shard]:
        """Shards that may have blocks in a box of patch coordinates, ends exclusive."""
        begins_before = (self._first < torch.as_tensor(end)).all(-1)
        ends_after = (self._last >= torch.as_tensor(first)).all(-1)
        return [self._shards[n] for n in torch.nonzero(begins_before & ends_after).flatten()]

    def within(self, box: Region) -> Iterator[tuple[Shard, Tensor, Tensor]]:
        """Shards with blocks in such a box, the positions of their blocks, and which are in it."""
        first, end = torch.tensor(box).T
        for shard in self.near(first, end):
            positions = self._grid.positions(shard.blocks)
            inside = ((positions >= first) & (positions < end)).all(-1)
            if inside.any():
                yield shard, positions, inside

    def fill(self, box: Region) -> bool:
        """Whether all blocks in such a box are there."""
        n_blocks = sum(int(inside.sum()) for *_, inside in self.within(box))
        return n_blocks == math.prod(sides_of(box))


def by_row(rows: Tensor) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """The distinct rows of `(B, N)`, ascending, and the numbers of the blocks that have each."""
    if len(rows) and bool((rows == rows[0]).all()):  # as nearly always; sorting takes longer
        yield tuple(rows[0].tolist()), torch.arange(len(rows))
        return
    distinct, membership = torch.unique(rows, dim=0, return_inverse=True)
    for number, row in enumerate(distinct.tolist()):
        yield tuple(row), torch.nonzero(membership == number).flatten()


class ActiveBlocks(NamedTuple):
    """Blocks of one width and frame: `members` `(B,)` of `parameters`, at patch `positions`.

    `has_others` says whether their shard has more than one of the kind, in the box or not.
    """

    network: BlockNetwork
    frame: tuple[int, ...]
    positions: Tensor
    members: Tensor
    parameters: Parameters
    has_others: bool


def active_blocks(
    spec: Spec, level: int, shards: ShardIndex, box: Region, device: torch.device
) -> Iterator[ActiveBlocks]:
    """A level's blocks in a box of patch coordinates, decoded on the device."""
    for shard, positions, inside in shards.within(box):
        for width, stored in shard.stored.items():
            has_width = shard.widths == width
            rows = torch.nonzero(inside & has_width).flatten()
            parameters = spec.storage.decode(moved(select(stored, inside[has_width]), device))
            network = spec.model(level, width)
            for frame, members in by_row(shard.frames[rows]):
                is_alike = (shard.frames[has_width] == torch.tensor(frame)).all(-1)
                at, has_others = positions[rows[members]], int(is_alike.sum()) > 1
                yield ActiveBlocks(network, frame, at, members, parameters, has_others)


def batch_size(n_points: int, device: torch.device) -> int:
    """How many blocks with so many points each are computed at once."""
    batch_pixels = _BATCH_PIXELS if device.type == "cpu" else _DEVICE_BATCH_PIXELS
    return max(1, batch_pixels // n_points)


def render_level(
    spec: Spec,
    level: int,
    shards: ShardIndex,
    prediction: Signal,
    region: Region,
    outputs: Outputs = BlockNetwork.outputs,
    finer: int = 0,
) -> Tensor:
    """Merge a level's active blocks into its prediction in a box of whole cells, `(C, *box)`.

    Cells are patches, or, of pixels of a level that is so many levels `finer`, `cell_of`.
    """
    cell, depth = cell_of(spec, finer)
    grid, device = PatchGrid(sides_of(region), cell), prediction.device
    size, step = (cell,) * len(spec.sides), spec.pyramid.step
    samples = tuple(-(-side // step) for side in size)
    cells = tuple((low // cell, -(-high // cell)) for low, high in region)
    box = tuple((low >> depth, (high - 1 >> depth) + 1) for low, high in cells)
    if spec.pyramid.merges_prediction or not shards.fill(box):
        tiled = grid.tiled(prediction.read(region))
    else:
        tiled = grid.tiled(torch.zeros((), device=device).expand(spec.n_channels, *grid.sides))
    for active in active_blocks(spec, level, shards, box, device):
        for frame, members, at in _cells(active, cells, depth):
            encoded = active.network.model.encode(coordinates(cell, size, frame, step)).to(device)
            n_blocks = batch_size(encoded.shape[1], device)
            for rows, places in zip(members.split(n_blocks), at.split(n_blocks), strict=True):
                own = select(active.parameters, rows.to(device))
                if len(places) == 1 and active.has_others:  # alone it may be summed differently
                    own = concatenate([own, own])
                values = outputs(active.network, own, encoded)[: len(places)]
                tiles = tuple(places.T.to(device))
                tiled[tiles] = spec.pyramid.merge(tiled[tiles], values.unflatten(-1, samples))
    return grid.joined(tiled)


def cell_of(spec: Spec, finer: int) -> tuple[int, int]:
    """Pixels of a finer level along a cell, and how often a block is halved to be one."""
    depth = 0
    while finer > depth and spec.patch_size << (finer - depth) > _CELL_SIDE:
        depth += 1
    return spec.patch_size << (finer - depth), depth


def _cells(
    active: ActiveBlocks, cells: Region, depth: int
) -> Iterator[tuple[tuple[int, ...], Tensor, Tensor]]:
    """Frames of cells of blocks, the members that have one in a box, and where it is there.

    All blocks' cells of one offset come at once.
    """
    first, end = torch.tensor(cells).T
    generation, *corner = active.frame
    halved = [sorted({n % 2**depth for n in range(*span)}) for span in cells]
    for offset in itertools.product(*halved):
        at = (active.positions << depth) + torch.tensor(offset)
        inside = ((at >= first) & (at < end)).all(-1)
        if inside.any():
            within = ((n << depth) + own for n, own in zip(corner, offset, strict=True))
            yield (generation + depth, *within), active.members[inside], at[inside] - first


def level_image(
    spec: Spec,
    level: int,
    shards: Sequence[ShardIndex],
    known: Mapping[int, ReadRegion],
    device: torch.device,
) -> Signal:
    """A level of a whole representation, unclipped, rendered where it is read.

    Levels that are `known` are read instead. Of a representation that `evaluates_coarser`, pixels
    that only finer blocks represent are the next finer level's, reduced.
    """
    if level in known:
        return SourceSignal(known[level], spec.n_channels, spec.level_sides[level], device)
    image = partial(level_image, spec, shards=shards, known=known, device=device)
    shape = spec.n_channels, *spec.level_sides[level]
    if not spec.evaluates_coarser:
        coarser = None if spec.is_coarsest(level) else image(level + 1)
        prediction = predicted_signal(spec.pyramid, coarser, shape, device)
    else:
        finer = reduced_signal(spec.pyramid, image(level - 1)) if level > 0 else None
        base = finer or predicted_signal(spec.pyramid, None, shape, device)
        prediction = coarser_blocks(spec, level, shards, base)

    def read(region: Region) -> Tensor:
        box = spec.grid(level).around(region)
        rendered = render_level(spec, level, shards[level], prediction, box)
        return rendered[(slice(None), *slices(region, box))].contiguous()

    return SourceSignal(read, spec.n_channels, prediction.sides, device)


def coarser_blocks(
    spec: Spec,
    level: int,
    shards: Sequence[ShardIndex],
    base: Signal,
    outputs: Outputs = BlockNetwork.outputs,
) -> Signal:
    """What blocks of all coarser levels give at the pixels of a level, the finest that is there."""

    def read(coarser: int, below: Signal, region: Region) -> Tensor:
        finer = coarser - level
        size = spec.patch_size << finer
        blocks = tuple((low // size, -(-high // size)) for low, high in region)
        if not any(True for _ in shards[coarser].within(blocks)):
            return below.read(region)
        cell, _ = cell_of(spec, finer)
        box = PatchGrid(base.sides, cell).around(region)
        values = render_level(spec, coarser, shards[coarser], below, box, outputs, finer)
        return values[(slice(None), *slices(region, box))]

    signal = base
    for coarser in reversed(range(level + 1, spec.n_levels)):
        reader = partial(read, coarser, signal)
        signal = SourceSignal(reader, base.n_channels, base.sides, base.device)
    return signal
