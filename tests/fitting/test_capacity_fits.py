"""Whole fits with several widths: which block gets which network, and which fit is stored."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from block_problems import flat_and_busy, same_bits
from problems import SINGLE, Watched, block_errors, fit, networks, widths_of
from torch import Tensor

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.capacity import BudgetCapacity, Capacity, UniformCapacity, WidthRequest
from miner.fitting.criteria import AbsoluteMSEPruning
from miner.kernels.backend import CompiledBackend
from miner.representation import Representation
from miner.representation.storage import Float16Storage, Float32Storage, Int8Storage, Storage

COMPILED = CompiledBackend()
JUMPY = partial(torch.optim.Adam, lr=0.5)  # a wider network may end worse
STORAGES = [Float32Storage(), Float16Storage(), Int8Storage()]
PICTURE = flat_and_busy(36, 43)  # 5 x 6 blocks, of which those at two edges are cut


@dataclass(frozen=True)
class Doubled(Capacity):
    """The level's width, then twice as much, whatever came of it."""

    max_refits: int = 1

    def assign(self, request: WidthRequest) -> Tensor:
        return torch.full_like(request.n_pixels, request.width)

    def widen(self, widths: Tensor, mse: Tensor, request: WidthRequest) -> Tensor:
        return 2 * widths


GIVEN: dict[str, Any] = {"pyramid": SINGLE, "max_steps": 12, "backend": COMPILED}


def fit_widths(capacity: Watched | None = None, **changes: Any) -> Representation:
    """One level of `PICTURE`."""
    return fit(PICTURE, **({**GIVEN, "capacity": capacity or Watched()} | changes))


def test_harder_probes_get_wider_networks() -> None:
    signal, capacity = PICTURE, Watched(max_refits=0)
    widths = fit_widths(capacity)
    probes = fit_widths(capacity=UniformCapacity(), max_steps=capacity.probe_steps)
    by_error = block_errors(probes, signal).argsort().tolist()
    ordered = [widths_of(widths)[block] for block in by_error]
    assert ordered == sorted(ordered)


@pytest.mark.parametrize(
    ("storage", "backend"),
    [
        *((storage, COMPILED) for storage in STORAGES),
        (Int8Storage(), EagerBackend()),
        pytest.param(Float32Storage(), EagerBackend(), marks=pytest.mark.slow),
        pytest.param(Float16Storage(), EagerBackend(), marks=pytest.mark.slow),
    ],
)
def test_a_blocks_error_is_what_rendering_gives(storage: Storage, backend: Backend) -> None:
    capacity = Watched()
    fitted = fit_widths(capacity, storage=storage, backend=backend)
    last = capacity.rounds[-1]
    assert len(capacity.rounds) == 2
    torch.testing.assert_close(
        block_errors(fitted, PICTURE), last.mse.double(), rtol=1e-2, atol=1e-12
    )


@pytest.mark.parametrize("storage", [Float32Storage(), Int8Storage()])
def test_a_block_is_fitted_as_in_a_level_of_its_width(storage: Storage) -> None:
    fitted = fit_widths(storage=storage)
    widths, found = widths_of(fitted), networks(fitted)
    for width in sorted(set(widths.values()))[::3]:
        alone = networks(fit_widths(capacity=UniformCapacity(), width=width, storage=storage))
        for block in (block for block in widths if widths[block] == width):
            same_bits(found[block], alone[block])


@pytest.mark.parametrize("backend", [EagerBackend(), COMPILED])
def test_refits_leave_no_block_worse(backend: Backend) -> None:
    without, *tried_again = (
        block_errors(fit_widths(Watched(max_refits=n), backend=backend), PICTURE) for n in (0, 1, 4)
    )
    for errors in tried_again:
        assert bool((errors <= without * (1 + 1e-5)).all())
        assert bool((errors < 0.9 * without).any())


def test_only_blocks_above_the_bound_are_tried_again() -> None:
    capacity = Watched(features_per_db=2.0)
    fit_widths(capacity)
    first, second = capacity.rounds
    above = first.mse > 1e-4 * 10**0.03
    assert 0 < int(above.sum()) < len(above)
    assert torch.equal(second.widths > first.widths, above & (first.widths < capacity.max_width))
    assert torch.equal(second.mse[~above], first.mse[~above])


def test_blocks_are_tried_again_no_more_often_than_set() -> None:
    tried = []
    for max_refits in (0, 1, 3):
        capacity = Watched(max_refits=max_refits, features_per_db=0.01, max_width=99)
        fit_widths(capacity, max_mse=1e-9)
        tried.append(len(capacity.rounds))
    assert tried == [1, 2, 4]


@pytest.mark.parametrize("storage", [Float32Storage(), Int8Storage()])
def test_a_block_tried_again_is_stored_with_its_better_fit(storage: Storage) -> None:
    changes = {"optimizer": JUMPY, "max_steps": 5, "storage": storage}
    fitted = fit_widths(capacity=Doubled(), **changes)
    parts = [fit_widths(capacity=UniformCapacity(), width=width, **changes) for width in (6, 12)]
    narrow, wide = (block_errors(part, PICTURE) for part in parts)
    expected = {block: 12 if wide[block] < narrow[block] else 6 for block in range(30)}
    assert widths_of(fitted) == expected
    assert set(expected.values()) == {6, 12}
    for block, width in expected.items():
        same_bits(networks(fitted)[block], networks(parts[width == 12])[block])


def test_blocks_that_converge_when_tried_again_count_as_converged() -> None:
    counts = []
    for max_refits in (0, 1):
        pruned = fit_widths(Doubled(max_refits=max_refits), pruning=AbsoluteMSEPruning(1))
        counts.append(pruned.shards[0][0].stats.n_converged)
    assert counts[0] < counts[1]


@pytest.mark.parametrize("changes", [{"blocks_per_shard": 4}, {"max_memory_gib": 1e-9}])
def test_the_number_of_blocks_at_once_does_not_show(changes: dict[str, Any]) -> None:
    several, apart = fit_widths(), fit_widths(**changes)
    assert len(set(widths_of(several).values())) > 5
    assert widths_of(apart) == widths_of(several)
    same_bits(networks(apart), networks(several))


BUDGETED = {"patch_size": 32, "pyramid": SINGLE, "width": 12, "max_steps": 10}


@pytest.mark.parametrize("amount", [0.5, 1.0])
def test_a_fit_spends_its_budget_on_the_hardest_blocks(amount: float) -> None:
    signal = flat_and_busy(96, 96)
    capacity = BudgetCapacity(probe_steps=5, parameters_per_pixel=amount)
    fitted = fit(signal, capacity=capacity, **BUDGETED)
    assert 0.8 * amount < fitted.n_parameters / (96 * 96) <= amount
    probes = fit(signal, capacity=UniformCapacity(), **(BUDGETED | {"max_steps": 5}))
    by_error = block_errors(probes, signal).argsort().tolist()
    widths = [widths_of(fitted)[block] for block in by_error]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


@pytest.mark.parametrize("sides", [(33, 33), (65, 70), (40, 96)])
def test_pixels_beyond_the_image_earn_no_parameters(sides: tuple[int, int]) -> None:
    capacity = BudgetCapacity(probe_steps=5, parameters_per_pixel=0.9)
    fitted = fit(flat_and_busy(*sides), capacity=capacity, **BUDGETED)
    assert fitted.n_parameters <= 0.9 * sides[0] * sides[1]
