"""Values over levels and steps, pruning criteria, losses."""

import math

import pytest
import torch
from problems import problem

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.criteria import (
    AbsoluteMSEPruning,
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    LogMSELoss,
    MSELoss,
    NoPruning,
    PlateauPruning,
)
from miner.fitting.settings import at_level
from miner.fitting.steps import checkpoints
from miner.kernels.backend import CompiledBackend

INF = math.inf


@pytest.mark.parametrize(("level", "value"), [(0, 20), (1, 32), (2, 64), (3, 64), (9, 64)])
def test_a_list_ends_at_the_finest_level_and_repeats_its_first(level: int, value: int) -> None:
    assert at_level([64, 32, 20], level) == value


def test_a_number_holds_at_every_level() -> None:
    assert [at_level(5, level) for level in range(3)] == [5, 5, 5]


def test_constant_schedule() -> None:
    assert {ConstantSchedule().factor(step, 9) for step in range(9)} == {1.0}


def test_cosine_schedule_falls_from_one_to_its_final_ratio() -> None:
    schedule = CosineSchedule(final_ratio=0.1)
    factors = [schedule.factor(step, 8) for step in range(9)]
    assert factors == sorted(factors, reverse=True)
    assert [factors[0], factors[4], factors[8]] == pytest.approx([1, 0.55, 0.1])


def test_exponential_schedule_decays_every_step() -> None:
    assert ExponentialSchedule(0.5).factor(3, 100) == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    ("n_steps", "every", "expected"),
    [(10, 4, [4, 8, 10]), (8, 4, [4, 8]), (3, 10, [3]), (3, 1, [1, 2, 3]), (4, 4, [4])],
)
def test_checkpoints_end_with_the_last_step(n_steps: int, every: int, expected: list[int]) -> None:
    assert list(checkpoints(n_steps, every)) == expected


def test_absolute_pruning_takes_errors_up_to_the_bound() -> None:
    done = AbsoluteMSEPruning().converged(torch.tensor([0.9, 1.0, 1.1]), torch.zeros(3), 1.0)
    assert done.tolist() == [True, True, False]


def test_plateau_pruning_takes_small_changes_of_either_sign() -> None:
    now = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0])
    before = torch.tensor([INF, 1.5, 1.05, 0.95, 1.0])
    done = PlateauPruning(min_change=0.1).converged(now, before, 1e-4)
    assert done.tolist() == [False, False, True, True, True]


@pytest.mark.parametrize("pruning", [AbsoluteMSEPruning(), PlateauPruning(), NoPruning()])
def test_a_diverged_block_never_counts_as_converged(pruning: AbsoluteMSEPruning) -> None:
    for mse in (math.nan, INF):
        assert not pruning.converged(torch.tensor([mse]), torch.tensor([INF]), 1e-4)


def test_no_pruning_keeps_perfect_blocks() -> None:
    assert not NoPruning().converged(torch.zeros(1), torch.zeros(1), 1.0)


def test_mse_loss_is_the_error() -> None:
    assert MSELoss()(torch.tensor([2.0, 3.0])).tolist() == [2.0, 3.0]


def test_log_loss_divides_the_gradient_by_the_error() -> None:
    mse = torch.tensor([1e-2, 1e-6, 0.0], dtype=torch.float64, requires_grad=True)
    LogMSELoss(floor=1e-4)(mse).sum().backward()
    torch.testing.assert_close(mse.grad, 1 / (mse.detach() + 1e-4))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("backend", [EagerBackend(), CompiledBackend()])
def test_at_least_one_block_is_in_computation(backend: Backend, device: str) -> None:
    assert backend.max_blocks(problem().model, 10**6, 1e-9, torch.device(device)) == 1


@pytest.mark.parametrize(
    ("backend", "device"),
    [(EagerBackend(), "cuda"), (CompiledBackend(), "cpu")],
    ids=["eager", "fused"],
)
def test_more_memory_admits_more_blocks(backend: Backend, device: str) -> None:
    counts = [
        backend.max_blocks(problem().model, 36, gib, torch.device(device)) for gib in (0.01, 1)
    ]
    assert counts[1] >= 99 * counts[0]


def test_plain_pytorch_keeps_a_layer_of_a_batch_in_a_cpus_cache() -> None:
    counts = [
        EagerBackend().max_blocks(problem().model, 36, gib, torch.device("cpu")) for gib in (1, 100)
    ]
    assert counts[0] == counts[1] < 10**5
