"""What levels of a signal lose, and so at which of them a region takes the fewest parameters."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from miner.fitting.selection import LevelSelection
from miner.pyramids.resample import predicted_signal
from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid
from miner.signals.regions import sides_of
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
    return [
        _lost(spec, level, *pair, tile_side, ranks)
        for level, pair in enumerate(itertools.pairwise(signals))
    ]


def _lost(
    spec: Spec, level: int, finer: Signal, coarser: Signal, tile_side: int, ranks: Communicator
) -> Tensor:
    halvings = min(level, (spec.patch_size & -spec.patch_size).bit_length() - 1)
    size = spec.patch_size >> halvings
    shape = (finer.n_channels, *finer.sides)
    expanded = predicted_signal(spec.pyramid, coarser, shape, finer.device)
    grid, found = PatchGrid(finer.sides, size), []
    regions = list(grid.tiles(tile_side))
    for region in items_of_rank(ranks, regions):
        error = (finer.read(region) - expanded.read(region)).square_()
        found.append(PatchGrid(sides_of(region), size).block_means(error).cpu())
    means = torch.empty(grid.n_blocks, dtype=torch.float64)
    for region, part in zip(regions, gather_items(ranks, found), strict=True):
        means[grid.blocks_in(region)] = part
    positions = spec.grid(0).positions(torch.arange(spec.grid(0).n_blocks))
    return means[grid.numbers(positions >> (level - halvings))]
