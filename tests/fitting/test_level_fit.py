"""A level: its chunks, its bound, what is counted, and what a fit depends on."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from block_problems import finish, flat_and_busy, noise, smooth, stored
from problems import SETTINGS, SINGLE, Watched, block_errors, fit, fitter

from miner.fitting.block_fit import BlockFit, Curve
from miner.fitting.capacity import Capacity, TargetErrorCapacity, UniformCapacity
from miner.fitting.chunk import WidthFit, curve_of_rounds
from miner.fitting.criteria import AbsoluteMSEPruning
from miner.fitting.initialization import Parents
from miner.fitting.level_fit import LevelFit
from miner.fitting.readout import LearnedReadout, Readout
from miner.fitting.selection import PerLevelSelection
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid, Pyramid

CAPACITIES = [UniformCapacity(), TargetErrorCapacity(probe_steps=2)]


@pytest.mark.parametrize("blocks_per_shard", [1, 5, 100])
def test_chunks_split_the_active_blocks(blocks_per_shard: int) -> None:
    level = fitter(noise(1, 29, 23), blocks_per_shard=blocks_per_shard).start_level(1)
    assert torch.equal(torch.cat(level.chunks).sort().values, level.active)
    assert all(bool((chunk.diff() > 0).all()) for chunk in level.chunks)
    assert {len(chunk) for chunk in level.chunks[:-1]} <= {blocks_per_shard}


@pytest.mark.parametrize("capacity", CAPACITIES)
@pytest.mark.parametrize("batch_pixels", [None, 9])
@pytest.mark.parametrize("readout", [SETTINGS.readout, LearnedReadout()])
def test_a_fit_repeats_bit_for_bit_and_leaves_the_global_generator_alone(
    readout: Readout, batch_pixels: int | None, capacity: Capacity
) -> None:
    changes = {"batch_pixels": batch_pixels, "capacity": capacity, "readout": readout}
    torch.manual_seed(1)
    first = fit(noise(1, 29, 23), **changes)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = fit(noise(1, 29, 23), **changes)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(stored(again), stored(first), rtol=0, atol=0)


def test_another_seed_is_another_fit() -> None:
    first, other = (fit(noise(1, 9, 9), seed=seed) for seed in (0, 1))
    assert not torch.equal(first.reconstruct(), other.reconstruct())


@pytest.mark.parametrize("pruning", [SETTINGS.pruning, AbsoluteMSEPruning(2)])
def test_the_curve_of_a_chunk_ends_at_its_squared_error(pruning: Any) -> None:
    signal = smooth(29, 23)
    fitted = fit(signal, pyramid=SINGLE, pruning=pruning, max_steps=6)
    (shard,) = fitted.shards[0]
    error = float((fitted.reconstruct() - signal).double().square().sum())
    assert shard.stats.curve[-1][2] == pytest.approx(error, rel=1e-2)


def test_blocks_without_a_network_do_not_count_as_converged() -> None:
    (shard,) = fit(torch.zeros(1, 9, 9), pruning=AbsoluteMSEPruning(1)).shards[1]
    assert (shard.stats.n_active, shard.stats.n_converged) == (1, 0)


def test_steps_and_widths_run_coarse_to_fine() -> None:
    fitted = fit(noise(1, 29, 23), width=[4, 6], max_steps=[3, 7])
    widths = [fitted.spec.model(level).model.width for level in (1, 0)]
    steps = [fitted.shards[level][0].stats.curve[-1][0] for level in (1, 0)]
    assert (widths, steps) == ([4, 6], [3, 7])


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_all_steps_are_reported_those_of_refits_too(capacity: Capacity) -> None:
    reported: list[int] = []
    level = fitter(noise(1, 29, 23), capacity=capacity).start_level(1)
    level.fit_chunk(0, reported.append)
    assert level.n_refit_steps == 4 * SETTINGS.max_steps * capacity.max_refits
    assert sum(reported) == 4 * SETTINGS.max_steps + level.n_refit_steps


@pytest.mark.parametrize("max_refits", [0, 2])
def test_refits_go_on_with_the_curve_step_by_step(max_refits: int) -> None:
    signal, capacity = noise(1, 29, 23), TargetErrorCapacity(max_refits=max_refits, probe_steps=2)
    fitted = fit(signal, pyramid=SINGLE, capacity=capacity, pruning=AbsoluteMSEPruning(2))
    (shard,) = fitted.shards[0]
    steps, seconds, errors = zip(*shard.stats.curve, strict=True)
    assert steps == tuple(range(2, SETTINGS.max_steps * (1 + max_refits) + 1, 2))
    assert seconds == tuple(sorted(seconds)) and seconds[-1] <= shard.stats.seconds
    assert all(later < 1.0001 * error for error, later in pairwise(errors))
    assert len({round(error, 3) for error in errors}) > 1 + max_refits  # each of them gains
    error = float((fitted.reconstruct() - signal).double().square().sum())
    assert 0.99 * error < errors[-1] < 1.1 * error  # of a sum, not of each block, the least is kept


def rows_fit(rows: list[int], mse: list[float], curve: Curve) -> WidthFit:
    """A fit of some rows of a chunk, as far as a curve needs it."""
    none, finished = torch.zeros(len(rows), dtype=torch.bool), torch.tensor(mse)
    inherited = Parents(none, {}, torch.zeros(len(rows), 3), torch.zeros(len(rows), 2))
    return WidthFit(1, torch.tensor(rows), inherited, BlockFit({}, finished, *[none] * 3, curve))


@pytest.mark.parametrize(
    ("again", "error"),
    [
        ([(10, 1.0, 7.0), (20, 2.0, 1.0)], [6.0, 5.0, 4.0]),  # no worse than it was before
        ([(10, 1.0, 1.5), (20, 2.0, 0.0)], [6.0, 4.5, 3.0]),
    ],
)
@pytest.mark.parametrize("lost", [[], [2]])
def test_rows_that_are_not_fitted_again_keep_their_errors(
    again: list[tuple[int, float, float]], error: list[float], lost: list[int]
) -> None:
    mse = [0.6, 0.4, *(math.inf for _ in lost)]  # what is not finite is in no curve
    first = rows_fit([0, 1, *lost], mse, ((20, 4.0, 6.0),))
    refit = rows_fit([1], [0.1], tuple(again))
    rounds = [([first], 1.0, 4.0), ([refit], 6.0, 2.0)]
    points = curve_of_rounds(rounds, torch.tensor([5, 5, 5]), n_steps=30)
    steps, seconds, errors = zip(*points, strict=True)
    assert (steps, seconds) == ((20, 40, 50), (5.0, 7.0, 8.0))
    assert errors == pytest.approx(error)


def test_the_error_of_fitted_blocks_is_known_while_a_level_is_fitted() -> None:
    signal, found = noise(1, 32, 24), list[float]()
    for max_refits in (0, 1):
        capacity = TargetErrorCapacity(max_refits=max_refits, probe_steps=2)
        settings: dict[str, Any] = {"capacity": capacity, "pyramid": SINGLE, "max_steps": 6}
        level = fitter(signal, **settings).start_level(0)
        assert math.isnan(level.block_mse)
        level.fit_chunk(0)
        found.append(level.block_mse)
        errors = block_errors(fit(signal, **settings), signal)
        assert found[-1] == pytest.approx(float(errors.mean()), rel=1e-3)
    assert found[1] < found[0]


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
    found = levels(level_selection=PerLevelSelection(ratio), pyramid=pyramid)
    for level, bound in zip(found, RATIOS[ratio], strict=True):
        is_active = (level.predicted_mse > bound) | (level.level == 2)
        assert torch.equal(level.active, torch.nonzero(is_active).flatten())
        assert level.level == 2 or 0 < len(level.active) < level.grid.n_blocks


def test_a_looser_bound_of_coarser_levels_leaves_the_finest_alone() -> None:
    coarser, finest = levels(level_selection=PerLevelSelection(1e9), pyramid=LaplacianPyramid(3))[
        1:
    ]
    assert (len(coarser.active), len(finest.active) > 50) == (0, True)


@pytest.mark.parametrize(("ratio", "converged"), [(1e12, [4, 0]), (1.0, [0, 0])])
def test_blocks_are_done_at_the_bound_of_their_level(ratio: float, converged: list[int]) -> None:
    pruning = AbsoluteMSEPruning(1)
    fitted = fit(
        noise(1, 29, 23), max_mse=1e-9, level_selection=PerLevelSelection(ratio), pruning=pruning
    )
    assert [fitted.shards[level][0].stats.n_converged for level in (1, 0)] == converged


@pytest.mark.parametrize("ratio", RATIOS)
def test_blocks_are_sized_for_the_bound_of_their_level(ratio: float) -> None:
    capacity = Watched(max_refits=0)
    levels(level_selection=PerLevelSelection(ratio), capacity=capacity, pyramid=LaplacianPyramid(3))
    bounds = [set(tried.max_mse.tolist()) for tried in capacity.rounds]
    assert bounds == [{bound} for bound in RATIOS[ratio]]


def test_a_tighter_bound_takes_wider_networks() -> None:
    counts = [
        fit(PICTURE, capacity=Watched(), max_mse=bound, pyramid=SINGLE).n_parameters
        for bound in (1e-2, 1e-3, 1e-4)
    ]
    assert counts == sorted(set(counts))
