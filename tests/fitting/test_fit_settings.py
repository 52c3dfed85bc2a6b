"""Values over levels and steps, pruning criteria, losses, numbers of blocks."""

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
    Pruning,
)
from miner.fitting.settings import at_level
from miner.kernels.backend import CompiledBackend

INF = math.inf


@pytest.mark.parametrize(("level", "value"), [(0, 20), (1, 32), (2, 64), (3, 64), (9, 64)])
def test_a_list_ends_at_the_finest_level_and_repeats_its_first(level: int, value: int) -> None:
    assert at_level([64, 32, 20], level) == value
    assert at_level(5, level) == 5


def test_schedules_fall_from_one() -> None:
    assert {ConstantSchedule().factor(step, 9) for step in range(9)} == {1.0}
    factors = [CosineSchedule(final_ratio=0.1).factor(step, 8) for step in range(9)]
    assert factors == sorted(factors, reverse=True)
    assert [factors[0], factors[4], factors[8]] == pytest.approx([1, 0.55, 0.1])
    assert ExponentialSchedule(0.5).factor(3, 100) == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    ("pruning", "expected"),
    [
        (AbsoluteMSEPruning(), [True, True, True, True, False]),  # errors up to the bound
        (PlateauPruning(min_change=0.1), [False, False, True, True, True]),  # of either sign
        (NoPruning(), [False] * 5),
    ],
)
def test_pruning_names_blocks_that_converged(pruning: Pruning, expected: list[bool]) -> None:
    now = torch.tensor([0.0, 0.5, 1.0, 1.0, 1.1])
    before = torch.tensor([INF, 1.5, 1.05, 0.95, 1.1])
    assert pruning.converged(now, before, 1.0).tolist() == expected
    for mse in (math.nan, INF):  # it diverged
        assert not pruning.converged(torch.tensor([mse]), torch.tensor([INF]), 1.0)


def test_mse_loss_is_the_error_and_log_loss_divides_its_gradient_by_it() -> None:
    assert MSELoss()(torch.tensor([2.0, 3.0])).tolist() == [2.0, 3.0]
    mse = torch.tensor([1e-2, 1e-6, 0.0], dtype=torch.float64, requires_grad=True)
    LogMSELoss(floor=1e-4)(mse).sum().backward()
    torch.testing.assert_close(mse.grad, 1 / (mse.detach() + 1e-4))


@pytest.mark.parametrize(
    ("backend", "device"),
    [(EagerBackend(), "cuda"), (CompiledBackend(), "cpu")],
    ids=["eager", "compiled"],
)
def test_more_memory_admits_more_blocks_but_at_least_one(backend: Backend, device: str) -> None:
    few, many = (max_blocks(backend, 36, gib, device) for gib in (0.01, 1))
    assert many >= 99 * few
    assert max_blocks(backend, 10**6, 1e-9, "cpu") == max_blocks(backend, 10**6, 1e-9, "cuda") == 1
    few, many = (max_blocks(EagerBackend(), 36, gib, "cpu") for gib in (1, 100))
    assert few == many < 10**5  # a layer of a batch stays in the cache


def max_blocks(backend: Backend, n_pixels: int, memory_gib: float, device: str) -> int:
    return backend.max_blocks(problem().network, n_pixels, memory_gib, torch.device(device))
