"""Which pixels the blocks of each level represent, once their errors are measured."""

from collections.abc import Sequence

import torch
from torch import Tensor

from miner.fitting.detail import parents_of
from miner.models.network import concatenate, select
from miner.representation.rendering import Outputs, ShardIndex, active_blocks, batch_size
from miner.representation.shard import Shard
from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid
from miner.signals.regions import Region, shifted, sides_of, slices, tiles
from miner.signals.signal import Signal


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
        blocks = torch.cat([torch.empty(0).long(), *(shard.blocks for shard in found)])
        self.has_failed |= 2 * len(blocks) < sum(shard.stats.n_active for shard in found)
        is_left = self.due.clone()
        is_left[blocks] = False
        self.due = is_left[parents_of(self._spec, level - 1)]

    def represent(self, shard: Shard, most: float) -> Tensor:
        """Which blocks of a level above the finest have at most such an error there, mask `(B,)`.

        It is measured along each axis at two of the finest level's pixels for each of their own.
        """
        spec, level = self._spec, shard.level
        grid, index = spec.grid(level), ShardIndex(spec.grid(level), [shard])
        side = max(1, self._tile_side // (8 * spec.patch_size))  # small: few blocks may be near
        mse = torch.zeros(grid.n_blocks, dtype=torch.float64)
        for corner in ((grid.positions(shard.blocks) // side).unique(dim=0) * side).tolist():
            ends = zip(corner, grid.counts, strict=True)
            box = tuple((first, min(first + side, count)) for first, count in ends)
            numbers = torch.cartesian_prod(*(torch.arange(*ends) for ends in box))
            mse[grid.numbers(numbers.reshape(-1, len(box)))] = self._measured(level, index, box)
        return mse[shard.blocks] <= most

    def _measured(self, level: int, index: ShardIndex, box: Region) -> Tensor:
        """Errors `(B,)` of the active blocks in a box of patch coordinates, of pixels with data."""
        spec, stride = self._spec, 2 ** (level - 1)
        size, axes = spec.patch_size << level, range(len(spec.sides))
        ends = zip(box, spec.sides, strict=True)
        region = tuple((size * first, min(size * end, side)) for (first, end), side in ends)
        values = self._sampled(region, stride)
        grid = PatchGrid(values.shape[1:], size // stride)
        tiled, corner = grid.tiled(values), torch.tensor([first for first, _ in box])
        unit = (torch.arange(0, size, stride, dtype=torch.float64) + 0.5) * 2 / size - 1
        points = torch.stack(torch.meshgrid(*(unit for _ in axes), indexing="ij")).flatten(1)
        for active in active_blocks(spec, level, index, box, values.device):
            encoded = active.network.model.encode(points.float()).to(values.device)
            n_blocks = batch_size(encoded.shape[1], values.device)
            positions = (active.positions - corner).split(n_blocks)
            for members, at in zip(active.members.split(n_blocks), positions, strict=True):
                own = select(active.parameters, members.to(values.device))
                if len(members) == 1:  # alone it may be summed differently
                    own = concatenate([own, own])
                given = self._outputs(active.network, own, encoded)[: len(members)]
                tiled[tuple(at.T.to(values.device))] = given.unflatten(-1, (len(unit),) * len(axes))
        error = (grid.joined(tiled) - values).square_()
        if (valid := spec.valid(region, 0)) is None:
            return grid.block_means(error).cpu()
        step = (slice(None, None, stride),) * len(axes)
        counted = torch.from_numpy(valid[step].copy())[None].to(error)
        share = grid.block_means(counted).clamp(min=torch.finfo(torch.float64).tiny)
        return (grid.block_means(error * counted) / share).cpu()

    def _sampled(self, region: Region, stride: int) -> Tensor:
        """The finest level in a region, every so many pixels, `(C, *ceil(S / stride))`."""
        sides = sides_of(region)
        counts = [-(-side // stride) for side in sides]
        sampled = torch.empty(self._finest.n_channels, *counts, device=self._finest.device)
        for part in tiles(counts, max(1, self._tile_side // stride)):
            ends = zip(part, sides, strict=True)
            box = tuple((a * stride, min(b * stride, side)) for (a, b), side in ends)
            values = self._finest.read(shifted(box, region))
            for axis, count in enumerate(sides_of(part), start=1):
                values = values.index_select(axis, torch.arange(count).to(values.device) * stride)
            sampled[(slice(None), *slices(part))] = values
        return sampled
