"""Whole fits: chunks, what is counted, and what a fit depends on."""

from typing import Any

import pytest
import torch
from block_problems import noise, stored
from level_loop import finish
from problems import SETTINGS, fit, fitter
from whole_fits import SINGLE, smooth

from miner.fitting.capacity import Capacity, TargetErrorCapacity, UniformCapacity
from miner.fitting.criteria import AbsoluteMSEPruning
from miner.fitting.readout import LearnedReadout, Readout

CAPACITIES = [UniformCapacity(), TargetErrorCapacity(probe_steps=2)]


@pytest.mark.parametrize("blocks_per_shard", [1, 5, 100])
def test_chunks_split_the_active_blocks(blocks_per_shard: int) -> None:
    level = fitter(noise(1, 29, 23), blocks_per_shard=blocks_per_shard).start_level(1)
    assert torch.equal(torch.cat(level.chunks).sort().values, level.active)
    assert all(bool((chunk.diff() > 0).all()) for chunk in level.chunks)
    assert {len(chunk) for chunk in level.chunks[:-1]} <= {blocks_per_shard}


def test_a_level_without_active_blocks_has_no_chunks() -> None:
    running = fitter(torch.full((1, 20, 20), 0.5))
    finish(running, running.start_level(1))
    assert len(running.start_level(0).chunks) == 0


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


def test_blocks_that_converge_are_counted_over_all_parts() -> None:
    level = fitter(smooth(29, 23), pruning=AbsoluteMSEPruning(1), max_mse=1e9).start_level(1)
    assert level.fit_chunk(0).stats.n_converged == 4


def test_blocks_without_a_network_do_not_count_as_converged() -> None:
    (shard,) = fit(torch.zeros(1, 9, 9), pruning=AbsoluteMSEPruning(1)).shards[1]
    assert (shard.stats.n_active, shard.stats.n_converged) == (1, 0)


def test_steps_and_widths_run_coarse_to_fine() -> None:
    fitted = fit(noise(1, 29, 23), width=[4, 6], max_steps=[3, 7])
    widths = [fitted.spec.model(level).mlp.width for level in (1, 0)]
    steps = [fitted.shards[level][0].stats.curve[-1][0] for level in (1, 0)]
    assert (widths, steps) == ([4, 6], [3, 7])


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_all_steps_are_reported(capacity: Capacity) -> None:
    reported: list[int] = []
    fitter(noise(1, 29, 23), capacity=capacity).start_level(1).fit_chunk(0, reported.append)
    assert sum(reported) == 4 * SETTINGS.max_steps
