"""Which pixels the blocks of each level represent, once their errors are measured."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from miner.fitting.detail import parents_of
from miner.models.network import select
from miner.representation.rendering import Outputs, ShardIndex, active_blocks, batch_size
from miner.representation.shard import Shard
from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid
from miner.signals.regions import Region, shifted, sides_of, slices, tiles
from miner.signals.signal import Signal
from miner.support.communication import Communicator, gather_items, items_of_rank


class Partition:
    """The blocks that are due at one level after another: no coarser one represents their pixels.

    `due` `(B,)` belongs to the level that is next, `mse` `(B,)` are the errors of the coarser
    blocks that represent the others. `finest` is the signal.
    """

    def __init__(self, spec: Spec, finest: Signal, tile_side: int, ranks: Communicator) -> None:
        self._spec, self._finest, self._tile_side, self._ranks = spec, finest, tile_side, ranks
        n_blocks = spec.grid(spec.n_levels - 1).n_blocks
        self.due = torch.ones(n_blocks, dtype=torch.bool)
        self.mse = torch.zeros(n_blocks, dtype=torch.float64)

    def settle(
        self, level: int, found: Sequence[Shard], index: ShardIndex, outputs: Outputs, most: float
    ) -> int:
        """Go on to the next finer level, where all is due that no block represents.

        Blocks that were `found` at `level` represent their pixels if their error is at most so
        much; gives how many do not. It is measured at pixels of the finest level, along each axis
        at two for each pixel of their own.
        """
        spec, grid = self._spec, self._spec.grid(level)
        measure = partial(self._measured, level, index, outputs)
        blocks = torch.cat([torch.empty(0).long(), *(shard.blocks for shard in found)])
        side = max(1, self._tile_side // (8 * spec.patch_size))  # small: few blocks may be found
        corners = ((grid.positions(blocks) // side).unique(dim=0) * side).tolist()
        boxes = [
            tuple((n, min(n + side, count)) for n, count in zip(corner, grid.counts, strict=True))
            for corner in corners
        ]
        measured = [measure(box) for box in items_of_rank(self._ranks, boxes)]
        mse = torch.zeros(grid.n_blocks, dtype=torch.float64)
        for box, errors in zip(boxes, gather_items(self._ranks, measured), strict=True):
            numbers = torch.cartesian_prod(*(torch.arange(*ends) for ends in box))
            mse[grid.numbers(numbers.reshape(-1, len(box)))] = errors
        is_represented = torch.zeros_like(self.due)
        is_represented[blocks] = mse[blocks] <= most
        mse = mse.where(self.due, self.mse)
        parents = parents_of(spec, level - 1)
        self.due = (self.due & ~is_represented)[parents]
        self.mse = mse[parents]
        return len(blocks) - int(is_represented.sum())

    def _measured(self, level: int, index: ShardIndex, outputs: Outputs, box: Region) -> Tensor:
        """Errors `(B,)` of the active blocks in a box of patch coordinates; of others 0."""
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
                given = outputs(active.network, own, encoded)
                tiled[tuple(at.T.to(values.device))] = given.unflatten(-1, (len(unit),) * len(axes))
        return grid.block_means((grid.joined(tiled) - values).square_()).cpu()

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
