"""Which level represents a region: by what levels lose of it, and then by measured errors."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from miner.fitting.selection import LevelSelection
from miner.models.network import concatenate, select
from miner.pyramids.resample import predicted_signal
from miner.representation.rendering import Outputs, ShardIndex, active_blocks, batch_size
from miner.representation.shard import Shard
from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid
from miner.signals.regions import Region, overlap, shifted, sides_of, slices, tiles
from miner.signals.signal import Signal
from miner.support.communication import Communicator, gather_items, items_of_rank


class LevelDetail(NamedTuple):
    """Blocks of one level `(B,)`."""

    lost_mse: Tensor  # float64: what the level's pixels lose of the finest level's
    is_cheapest: Tensor  # finer blocks in their place cost more


def parents_of(spec: Spec, level: int) -> Tensor:
    """Numbers `(B,)` of the blocks of the next coarser level that hold those of a level."""
    grid = spec.grid(level)
    return spec.grid(level + 1).numbers(grid.positions(torch.arange(grid.n_blocks)) // 2)


def choose_levels(
    selection: LevelSelection, spec: Spec, lost: Sequence[Tensor], max_mse: float
) -> list[LevelDetail]:
    """Compare each block's cost with that of the cheapest finer blocks, from the finest level on.

    `lost` lists what each level loses of the next finer one, a mean over each block of the finest.
    """
    n_axes, found = len(spec.sides), []
    weights = spec.grid(0).valid_sizes(torch.arange(spec.grid(0).n_blocks)).prod(-1).double()
    losses = torch.stack([torch.zeros_like(weights), *lost]).cumsum(0)  # (n_levels, B)
    least = torch.full_like(weights, torch.inf)
    for level in range(spec.n_levels):
        if level:
            parents, n_blocks = parents_of(spec, level - 1), spec.grid(level).n_blocks
            sums = losses.new_zeros(len(losses), n_blocks).index_add_(1, parents, losses * weights)
            weights = weights.new_zeros(n_blocks).index_add_(0, parents, weights)
            least = least.new_zeros(n_blocks).index_add_(0, parents, least)
            losses = sums / weights
        cost = selection.cost(losses[level:], max_mse, n_axes)
        found.append(LevelDetail(losses[level], cost <= least))
        least = cost.minimum(least)
    return found


def lost_detail(
    spec: Spec, signals: Sequence[Signal], tile_side: int, ranks: Communicator
) -> list[Tensor]:
    """What each level above the finest loses of the next finer one: `expand(reduce(s)) - s`.

    Its mean square over each block of the finest level, `(B,)` float64.
    """
    positions, lost = spec.grid(0).positions(torch.arange(spec.grid(0).n_blocks)), []
    for level, (finer, coarser) in enumerate(itertools.pairwise(signals)):
        shape = finer.n_channels, *finer.sides
        expanded = predicted_signal(spec.pyramid, coarser, shape, finer.device)
        n_parts = math.gcd(spec.patch_size, 2**level)  # of a patch, along each axis
        grid, found = PatchGrid(finer.sides, spec.patch_size // n_parts), []
        regions = list(grid.tiles(tile_side))
        for region in items_of_rank(ranks, regions):
            error = (finer.read(region) - expanded.read(region)).square_()
            found.append(PatchGrid(sides_of(region), grid.patch_size).block_means(error).cpu())
        means = torch.empty(grid.n_blocks, dtype=torch.float64)
        means[torch.cat([*map(grid.blocks_in, regions)])] = torch.cat(gather_items(ranks, found))
        lost.append(means[grid.numbers(positions // (2**level // n_parts))])
    return lost


class Partition:
    """The blocks that are due at one level after another: no coarser one represents their pixels.

    `due` `(B,)` belongs to the level that is next. `has_failed` if most blocks of a level did not
    represent theirs, so that it is not worth trying more. `finest` is the signal.
    """

    def __init__(self, spec: Spec, finest: Signal, tile_side: int, outputs: Outputs) -> None:
        self._spec, self._finest, self._tile_side, self._outputs = spec, finest, tile_side, outputs
        n_blocks = spec.grid(spec.n_levels - 1).n_blocks
        self.due, self.has_failed = torch.ones(n_blocks, dtype=torch.bool), False

    def settle(self, level: int, found: Sequence[Shard]) -> None:
        """Go on to the next finer level, where all is due that no block represents."""
        is_left, n_blocks = self.due.clone(), 0
        for shard in found:
            is_left[shard.blocks] = False
            n_blocks += len(shard.blocks)
        self.has_failed |= 2 * n_blocks < sum(shard.stats.n_active for shard in found)
        self.due = is_left[parents_of(self._spec, level - 1)]

    def represent(self, shard: Shard, most: float) -> Tensor:
        """Which blocks of a level above the finest have at most such an error there, mask `(B,)`.

        It is measured along each axis at two of the finest level's pixels for each of their own.
        """
        patch, grid = self._spec.patch_size, self._spec.grid(shard.level)
        side = max(1, self._tile_side // (8 * patch)) * patch  # small: few blocks may be near
        index, mse = ShardIndex(grid, [shard]), torch.zeros(grid.n_blocks, dtype=torch.float64)
        for place in (grid.positions(shard.blocks) * patch // side).unique(dim=0) * side:
            ends = zip(place.tolist(), grid.sides, strict=True)
            region = tuple((low, min(low + side, end)) for low, end in ends)
            mse[grid.blocks_in(region)] = self._measured(shard.level, index, region)
        return mse[shard.blocks] <= most

    def _measured(self, level: int, index: ShardIndex, region: Region) -> Tensor:
        """Errors `(B,)` of the active blocks in a box of whole ones, of pixels with data."""
        spec, stride, size = self._spec, 2 ** (level - 1), self._spec.patch_size << level
        ends = zip(region, spec.sides, strict=True)
        finest = tuple((low << level, min(high << level, side)) for (low, high), side in ends)
        values = self._sampled(finest, stride)
        grid = PatchGrid(values.shape[1:], size // stride)
        tiled, device = grid.tiled(values), values.device
        unit = (torch.arange(0, size, stride, dtype=torch.float64) + 0.5) * 2 / size - 1
        axes = [unit] * len(region)
        points = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1).float()
        box = tuple((low // spec.patch_size, -(-high // spec.patch_size)) for low, high in region)
        corner = torch.tensor(box)[:, 0]
        for active in active_blocks(spec, level, index, box, device):
            encoded = active.network.model.encode(points).to(device)
            n_blocks = batch_size(encoded.shape[1], device)
            positions = (active.positions - corner).split(n_blocks)
            for members, at in zip(active.members.split(n_blocks), positions, strict=True):
                own = select(active.parameters, members.to(device))
                if len(members) == 1:  # alone it may be summed differently
                    own = concatenate([own, own])
                given = self._outputs(active.network, own, encoded)[: len(members)]
                tiled[tuple(at.T.to(device))] = given.unflatten(-1, tuple(map(len, axes)))
        error = (grid.joined(tiled) - values).square_()
        if (valid := spec.valid(finest, 0)) is None:
            return grid.block_means(error).cpu()
        counted = torch.from_numpy(valid)[None][_every(stride, len(axes))].to(error)
        share = grid.block_means(counted).clamp(min=torch.finfo(torch.float64).tiny)
        return (grid.block_means(error * counted) / share).cpu()

    def _sampled(self, region: Region, stride: int) -> Tensor:
        """The finest level in a region, every so many pixels, `(C, *ceil(S / stride))`."""
        counts = [-(-side // stride) for side in sides_of(region)]
        sampled = torch.empty(self._finest.n_channels, *counts, device=self._finest.device)
        for part in tiles(counts, max(1, self._tile_side // stride)):
            box = shifted(tuple((a * stride, b * stride) for a, b in part), region)
            values = self._finest.read(overlap(box, region))
            sampled[(slice(None), *slices(part))] = values[_every(stride, len(part))]
        return sampled


def _every(stride: int, n_axes: int) -> tuple[slice, ...]:
    return slice(None), *[slice(None, None, stride)] * n_axes
