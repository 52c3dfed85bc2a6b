"""The bounds of levels: which blocks are active, when they are done, what they are sized for."""

from typing import Any

import pytest
import torch
from block_problems import noise
from level_loop import finish
from problems import fit, fitter
from whole_fits import Watched, flat_and_busy

from miner.fitting.criteria import AbsoluteMSEPruning
from miner.fitting.level_fit import LevelFit
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid, Pyramid

PICTURE = flat_and_busy(70, 83)
PYRAMIDS = [GaussianPyramid(3), LaplacianPyramid(3)]
RATIOS = {1.0: (1e-3, 1e-3, 1e-3), 3.0: (3e-3, 3e-3, 1e-3)}  # bounds coarse to fine


def levels(**changes: Any) -> list[LevelFit]:
    """The levels of a fit, coarse to fine."""
    running = fitter(PICTURE, max_mse=1e-3, **changes)
    found = []
    for level in reversed(range(running.spec.n_levels)):
        found.append(running.start_level(level))
        finish(running, found[-1])
    return found


@pytest.mark.parametrize("pyramid", PYRAMIDS)
@pytest.mark.parametrize("ratio", RATIOS)
def test_blocks_are_active_above_the_bound_of_their_level(ratio: float, pyramid: Pyramid) -> None:
    found = levels(coarse_ratio=ratio, pyramid=pyramid)
    for level, bound in zip(found, RATIOS[ratio], strict=True):
        is_active = (level.predicted_mse > bound) | (level.level == 2)
        assert torch.equal(level.active, torch.nonzero(is_active).flatten())
        assert level.level == 2 or 0 < len(level.active) < level.grid.n_blocks


def test_a_looser_bound_of_coarser_levels_leaves_the_finest_alone() -> None:
    coarser, finest = levels(coarse_ratio=1e9, pyramid=LaplacianPyramid(3))[1:]
    assert (len(coarser.active), len(finest.active) > 50) == (0, True)


@pytest.mark.parametrize(("ratio", "converged"), [(1e12, [4, 0]), (1.0, [0, 0])])
def test_blocks_are_done_at_the_bound_of_their_level(ratio: float, converged: list[int]) -> None:
    pruning = AbsoluteMSEPruning(1)
    fitted = fit(noise(1, 29, 23), max_mse=1e-9, coarse_ratio=ratio, pruning=pruning)
    assert [fitted.shards[level][0].stats.n_converged for level in (1, 0)] == converged


@pytest.mark.parametrize("ratio", RATIOS)
def test_blocks_are_sized_for_the_bound_of_their_level(ratio: float) -> None:
    capacity = Watched(max_refits=0)
    levels(coarse_ratio=ratio, capacity=capacity, pyramid=LaplacianPyramid(3))
    assert tuple(tried.max_mse for tried in capacity.rounds) == RATIOS[ratio]


def test_a_tighter_bound_takes_wider_networks() -> None:
    counts = [
        fit(PICTURE, capacity=Watched(), max_mse=bound, pyramid=LaplacianPyramid(1)).n_parameters
        for bound in (1e-2, 1e-3, 1e-4)
    ]
    assert counts == sorted(set(counts))
