"""How wide networks get: by what a probe fit lacks, within limits, wider for a refit, or paid."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from miner.fitting.capacity import (
    BudgetCapacity,
    Capacity,
    TargetErrorCapacity,
    UniformCapacity,
    WidthRequest,
)

ERRORS = st.lists(st.floats(0, 1e6), min_size=1, max_size=8)
BOUNDS = st.floats(1e-9, 1)
WIDTHS = st.integers(1, 100)
STEPS = st.integers(1, 100_000)
SMALL_ERRORS = st.lists(st.floats(1e-9, 1e-2), min_size=1, max_size=8)
AMOUNTS, PATCH = st.floats(0.1, 3), 1024


@st.composite
def capacities(draw: st.DrawFn) -> TargetErrorCapacity:
    narrowest, more = draw(WIDTHS), draw(st.integers(0, 100))
    return TargetErrorCapacity(
        probe_steps=draw(st.integers(1, 1000)),
        gain_db=draw(st.floats(0, 20)),
        features_per_db=draw(st.floats(0.01, 5)),
        min_width=narrowest,
        max_width=narrowest + more,
    )


@st.composite
def requests(draw: st.DrawFn) -> WidthRequest:
    return request(draw(WIDTHS), draw(STEPS), draw(BOUNDS), draw(st.integers(1, 5000)))


def cost(width: int) -> int:
    """Parameters of a block with two hidden layers of a width."""
    return width * width + 20 * width + 5


def no_probe(n_steps: int) -> Tensor:
    raise AssertionError("no probe fit is needed")


def request(
    width: int = 20, n_steps: int = 50, max_mse: float = 1e-4, n_pixels: int = PATCH
) -> WidthRequest:
    pixels = torch.tensor(n_pixels)
    return WidthRequest(width, n_steps, pixels, n_pixels, max_mse, cost, no_probe)


REQUEST = request()


def decibels_above(bound: float, by: float) -> float:
    return bound * 10 ** (by / 10)


def assigned(
    capacity: Capacity, errors: Sequence[float], given: WidthRequest = REQUEST
) -> list[int]:
    n_pixels = given.n_pixels.expand(len(errors))
    whole = replace(given, n_pixels=n_pixels, probe=lambda n_steps: torch.tensor(errors))
    return capacity.assign(whole).tolist()


def widened(
    capacity: Capacity,
    widths: Sequence[int],
    errors: Sequence[float],
    given: WidthRequest = REQUEST,
) -> list[int]:
    return capacity.widen(torch.tensor(widths), torch.tensor(errors), given).tolist()


@given(st.integers(0, 9), requests())
def test_uniform_widths_are_the_levels_and_stay(n_blocks: int, given: WidthRequest) -> None:
    whole = replace(given, n_pixels=given.n_pixels.expand(n_blocks))
    assert UniformCapacity().assign(whole).tolist() == [given.width] * n_blocks
    assert UniformCapacity().max_refits == 0
    assert widened(UniformCapacity(), [3, 4], [1.0, math.nan]) == [3, 4]


@pytest.mark.parametrize(
    ("lacking_db", "width"), [(-0.5, 20), (0.5, 21), (9.9, 31), (19.9, 42), (-10.1, 9)]
)
def test_every_decibel_above_the_bound_costs_features(lacking_db: float, width: int) -> None:
    assert assigned(TargetErrorCapacity(), [decibels_above(1e-4, lacking_db)]) == [width]


@pytest.mark.parametrize(("n_pixels", "width"), [(1024, 31), (256, 26), (64, 23), (4096, 42)])
def test_a_decibel_costs_more_in_larger_patches(n_pixels: int, width: int) -> None:
    errors, larger = [decibels_above(1e-4, 9.9)], request(n_pixels=n_pixels)
    assert assigned(TargetErrorCapacity(), errors, larger) == [width]
    assert widened(TargetErrorCapacity(), [20], errors, larger) == [width]


@pytest.mark.parametrize(("n_steps", "width"), [(1, 31), (50, 31), (500, 27), (5000, 23)])
def test_ten_times_the_steps_gain_what_they_are_said_to(n_steps: int, width: int) -> None:
    given = request(n_steps=n_steps)
    assert assigned(TargetErrorCapacity(gain_db=4.0), [0.999e-3], given) == [width]


@given(capacities(), ERRORS, requests())
def test_a_block_gets_what_it_would_get_alone_and_a_harder_one_as_much_or_more(
    capacity: TargetErrorCapacity, errors: list[float], given: WidthRequest
) -> None:
    widths = assigned(capacity, sorted(errors), given)
    assert widths == sorted(widths)
    assert widths == [assigned(capacity, [error], given)[0] for error in sorted(errors)]


@given(capacities(), st.lists(st.floats(width=32), min_size=1, max_size=8), requests())
def test_any_width_is_within_the_limits_and_never_narrowed(
    capacity: TargetErrorCapacity, errors: list[float], given: WidthRequest
) -> None:
    widths = assigned(capacity, errors, given)
    again = widened(capacity, widths, errors[::-1], given)
    assert all(wider >= width for width, wider in zip(widths, again, strict=True))
    assert capacity.min_width <= min(widths + again) <= max(widths + again) <= capacity.max_width


@pytest.mark.parametrize("error", [math.nan, math.inf, 0.0, 1e-44])
@given(capacities(), STEPS, BOUNDS)
def test_a_diverged_probe_gets_the_most_and_a_flat_block_the_least(
    error: float, capacity: TargetErrorCapacity, n_steps: int, bound: float
) -> None:
    width = capacity.min_width if error < 1 else capacity.max_width
    assert assigned(capacity, [error], request(1, n_steps, bound)) == [width]


@given(capacities(), ERRORS, requests(), STEPS, st.floats(1, 100))
def test_more_steps_or_a_looser_bound_never_ask_for_more(
    capacity: TargetErrorCapacity,
    errors: list[float],
    given: WidthRequest,
    more_steps: int,
    by: float,
) -> None:
    widths = assigned(capacity, errors, given)
    longer = replace(given, n_steps=given.n_steps + more_steps)
    for easier in (longer, replace(given, max_mse=by * given.max_mse)):
        fewer = assigned(capacity, errors, easier)
        assert all(b <= a for a, b in zip(widths, fewer, strict=True))


@pytest.mark.parametrize(
    "capacity", [TargetErrorCapacity(probe_steps=7), BudgetCapacity(probe_steps=7)]
)
def test_the_probe_takes_its_own_number_of_steps(capacity: Capacity) -> None:
    requested: list[int] = []

    def probe(n_steps: int) -> Tensor:
        requested.append(n_steps)
        return torch.tensor([1e-3])

    capacity.assign(replace(request(n_steps=1000), probe=probe))
    assert requested == [7]


@given(capacities(), WIDTHS, requests(), st.floats(-50, 0.29) | st.floats(0.31, 60))
def test_only_a_block_that_missed_its_bound_is_widened(
    capacity: TargetErrorCapacity, width: int, given: WidthRequest, by: float
) -> None:
    (wider,) = widened(capacity, [width], [decibels_above(given.max_mse, by)], given)
    can_widen = capacity.min_width <= width < capacity.max_width
    assert wider > width if by > 0.3 and can_widen else wider >= width
    assert by > 0.3 or wider == width


def test_a_block_that_missed_more_is_widened_more_up_to_the_widest() -> None:
    errors = [decibels_above(1e-4, by) for by in (0.2, 0.4, 3, 9.9, 100)]
    assert widened(TargetErrorCapacity(), [20] * 5, errors) == [20, 21, 24, 31, 48]
    assert widened(TargetErrorCapacity(), [20, 48, 48], [math.inf, 1.0, math.inf]) == 3 * [48]


def paid(errors: Sequence[float], amount: float, given: WidthRequest = REQUEST) -> list[int]:
    return assigned(BudgetCapacity(parameters_per_pixel=amount, min_width=2), errors, given)


@given(SMALL_ERRORS, AMOUNTS)
def test_a_budget_is_spent_on_harder_blocks_and_not_exceeded(
    errors: list[float], amount: float
) -> None:
    widths = paid(sorted(errors), amount)
    assert sum(map(cost, widths)) <= amount * PATCH * len(errors)
    assert widths == sorted(widths)


@given(st.floats(1e-9, 1e-2), st.integers(1, 8), st.floats(0.2, 2))
def test_blocks_alike_get_the_widest_that_is_paid_for(
    error: float, n_blocks: int, amount: float
) -> None:
    (width,) = set(paid([error] * n_blocks, amount))
    assert cost(width) <= amount * PATCH < cost(width + 1)


@given(SMALL_ERRORS, AMOUNTS, st.floats(1, 4), st.floats(1e-9, 1))
def test_more_parameters_never_narrow_a_block_whatever_the_bound_of_the_fit(
    errors: list[float], amount: float, by: float, max_mse: float
) -> None:
    few, many = paid(errors, amount), paid(errors, amount * by)
    assert all(a <= b for a, b in zip(few, many, strict=True))
    assert paid(errors, amount, request(max_mse=max_mse)) == few


def test_plenty_gives_every_block_the_most_and_no_refit() -> None:
    assert paid([1e-5, 1e-3], 1e6) == [48, 48]
    assert BudgetCapacity().max_refits == 0
