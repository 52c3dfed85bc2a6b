"""Render a level from stored blocks and the reconstruction of the next coarser level."""

from collections.abc import Callable, Iterable, Iterator
from operator import index

import torch
from torch import Tensor

from miner.models.network import BlockNetwork
from miner.models.parameters import Parameters, moved, select
from miner.representation.shard import Shard
from miner.representation.spec import Spec
from miner.signals.grid import CoordinateFrame, PatchGrid, coordinates
from miner.signals.regions import Region

_PIXELS_AT_ONCE = 2**18


_DEVICE_PIXELS_AT_ONCE = 2**20  # fewer leave a GPU idle


def check_region(region: Region, sides: tuple[int, ...]) -> None:
    """Refuse what is not a box of whole pixels inside a level.

    Raises:
        ValueError: the region, and the level's sides.
    """
    try:
        inside = len(region) == len(sides) and all(
            0 <= index(low) < index(high) <= side
            for (low, high), side in zip(region, sides, strict=True)
        )
    except (TypeError, ValueError):
        inside = False
    if not inside:
        raise ValueError(f"region={region}: must lie within {sides}, as (first, end) pairs")


def by_frame(frames: Tensor) -> Iterator[tuple[CoordinateFrame, Tensor]]:
    """The distinct rows of frames `(B, 1 + D)` and the numbers of the blocks that have each."""
    for row, members in by_row(frames):
        yield CoordinateFrame(row[0], row[1:]), members


def by_row(rows: Tensor) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """The distinct rows of `(B, N)`, ascending, and the numbers of the blocks that have each."""
    if len(rows) and bool((rows == rows[0]).all()):  # as nearly always; sorting takes longer
        yield tuple(rows[0].tolist()), torch.arange(len(rows))
        return
    distinct, membership = torch.unique(rows, dim=0, return_inverse=True)
    for number, row in enumerate(distinct.tolist()):
        yield tuple(row), torch.nonzero(membership == number).flatten()


Outputs = Callable[[BlockNetwork, Parameters, Tensor], Tensor]
"""Gives values `(B, C, P)` of a network's decoded blocks at encoded coordinates `(E, P)`."""


def plain_outputs(model: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
    """The network's own."""
    return model.outputs(parameters, encoded)


def block_values(
    spec: Spec, model: BlockNetwork, parameters: Parameters, frames: Tensor, outputs: Outputs
) -> Tensor:
    """What decoded blocks of one network say, as patches `(B, C, *[patch_size] * D)`.

    Computed where the parameters lie; frames `(B, 1 + D)` lie in the host's memory.
    """
    sides, device = (spec.patch_size,) * len(spec.sides), next(iter(parameters.values())).device
    values = torch.empty(len(frames), spec.n_channels, *sides, device=device)
    n_pixels = _PIXELS_AT_ONCE if device.type == "cpu" else _DEVICE_PIXELS_AT_ONCE
    for frame, members in by_frame(frames):
        encoded = model.mlp.encoding(coordinates(spec.patch_size, sides, frame)).to(device)
        for part in members.to(device).split(max(1, n_pixels // encoded.shape[1])):
            said = outputs(model, select(parameters, part), encoded)
            values[part] = said.unflatten(-1, sides)
    return values


@torch.no_grad()
def render_level(
    spec: Spec,
    level: int,
    shards: Iterable[Shard],
    prediction: Tensor,
    first: tuple[int, ...],
    outputs: Outputs = plain_outputs,
) -> Tensor:
    """Join a level's active blocks to its prediction `(C, *box)`, on the prediction's device.

    The box begins at pixel `first` of the level, on a patch's corner, and ends on patches' borders
    or the level's own; blocks outside it are left out. Never clipped.
    """
    box = PatchGrid(tuple(prediction.shape[1:]), spec.patch_size)
    grid = spec.grid(level)
    corner, device = torch.tensor(first) // spec.patch_size, prediction.device
    tiled = box.tiled(prediction)
    for shard in shards:
        positions = grid.positions(shard.blocks) - corner
        inside = ((positions >= 0) & (positions < torch.tensor(box.counts))).all(-1)
        if not inside.any():
            continue
        values = prediction.new_empty(
            len(positions), spec.n_channels, *(spec.patch_size,) * len(first)
        )
        for width, members, stored in shard.groups():
            shown = inside[members]
            parameters = spec.storage.decode(moved(select(stored, shown), device))
            model, rows = spec.model(level, width), members[shown]
            said = block_values(spec, model, parameters, shard.frames[rows], outputs)
            values[rows.to(device)] = said
        rows = torch.nonzero(inside).flatten()
        places = tuple(positions[rows].T.to(device))
        tiled[places] = spec.pyramid.merge(tiled[places], values[rows.to(device)])
    return box.joined(tiled)


def whole_patches(region: Region, grid: PatchGrid) -> Region:
    """The smallest box of whole patches around a region, within the level."""
    size = grid.patch_size
    return tuple(
        (low // size * size, min(side, -(-high // size) * size))
        for (low, high), side in zip(region, grid.sides, strict=True)
    )
