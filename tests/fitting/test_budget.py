"""Widths by need that a number of parameters pays for."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from problems import fit
from whole_fits import SINGLE, block_errors, flat_and_busy, widths_of

from miner.fitting.capacity import BudgetCapacity, UniformCapacity, WidthRequest

ERRORS = st.lists(st.floats(1e-9, 1e-2), min_size=1, max_size=8)
AMOUNTS = st.floats(0.1, 3)
PATCH = 1024


def cost(width: int) -> int:
    """Parameters of a block with two hidden layers of a width."""
    return width * width + 20 * width + 5


TASK = WidthRequest(
    width=20,
    n_steps=100,
    n_pixels=torch.tensor(PATCH),
    patch_pixels=PATCH,
    max_mse=1e-4,
    cost=cost,
)


def assigned(errors: Sequence[float], amount: float, given: WidthRequest = TASK) -> list[int]:
    capacity = BudgetCapacity(parameters_per_pixel=amount, min_width=2)
    whole = replace(given, n_pixels=given.n_pixels.expand(len(errors)))
    return capacity.assign(whole, lambda n_steps: torch.tensor(errors)).tolist()


@given(ERRORS, AMOUNTS)
def test_no_more_is_spent_than_given(errors: list[float], amount: float) -> None:
    assert sum(map(cost, assigned(errors, amount))) <= amount * PATCH * len(errors)


@given(st.floats(1e-9, 1e-2), st.integers(1, 8), st.floats(0.2, 2))
def test_blocks_alike_get_the_widest_that_is_paid_for(
    error: float, n_blocks: int, amount: float
) -> None:
    (width,) = set(assigned([error] * n_blocks, amount))
    assert cost(width) <= amount * PATCH < cost(width + 1)


@given(ERRORS, AMOUNTS)
def test_harder_blocks_get_as_much_or_more(errors: list[float], amount: float) -> None:
    widths = assigned(sorted(errors), amount)
    assert widths == sorted(widths)


@given(ERRORS, AMOUNTS, st.floats(1, 4))
def test_more_parameters_never_narrow_a_block(
    errors: list[float], amount: float, by: float
) -> None:
    few, many = assigned(errors, amount), assigned(errors, amount * by)
    assert all(a <= b for a, b in zip(few, many, strict=True))


@given(ERRORS, AMOUNTS, st.floats(1e-9, 1))
def test_the_bound_of_the_fit_does_not_matter(
    errors: list[float], amount: float, max_mse: float
) -> None:
    other = replace(TASK, max_mse=max_mse)
    assert assigned(errors, amount, other) == assigned(errors, amount)


def test_plenty_gives_every_block_the_most() -> None:
    assert assigned([1e-5, 1e-3], 1e6) == [48, 48]


@pytest.mark.parametrize("amount", [0.5, 1.0])
def test_a_fit_spends_what_it_is_given_on_the_hardest_blocks(amount: float) -> None:
    signal = flat_and_busy(96, 96)
    changes = {"patch_size": 32, "pyramid": SINGLE, "width": 12, "max_steps": 10}
    capacity = BudgetCapacity(probe_steps=5, parameters_per_pixel=amount)
    fitted = fit(signal, capacity=capacity, **changes)
    assert 0.8 * amount < fitted.n_parameters / (96 * 96) <= amount
    pilots = fit(signal, capacity=UniformCapacity(), **(changes | {"max_steps": 5}))
    by_error = block_errors(pilots, signal).argsort().tolist()
    widths = [widths_of(fitted)[block] for block in by_error]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


@pytest.mark.parametrize("sides", [(33, 33), (65, 70), (40, 96)])
def test_pixels_beyond_the_image_earn_nothing(sides: tuple[int, int]) -> None:
    capacity = BudgetCapacity(probe_steps=5, parameters_per_pixel=0.9)
    changes = {"patch_size": 32, "pyramid": SINGLE, "width": 12, "max_steps": 10}
    fitted = fit(flat_and_busy(*sides), capacity=capacity, **changes)
    assert fitted.n_parameters <= 0.9 * sides[0] * sides[1]


def test_a_spent_budget_pays_for_no_other_try() -> None:
    widths = torch.tensor([3, 9])
    assert BudgetCapacity(max_refits=2).widen(widths, torch.tensor([1.0, 1.0]), TASK) is widths
