"""How wide networks get: by what a pilot lacks, within limits, and wider for another try."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given
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


@st.composite
def sizings(draw: st.DrawFn) -> TargetErrorCapacity:
    least, more = draw(WIDTHS), draw(st.integers(0, 100))
    return TargetErrorCapacity(
        probe_steps=draw(st.integers(1, 1000)),
        gain_db=draw(st.floats(0, 20)),
        features_per_db=draw(st.floats(0.01, 5)),
        min_width=least,
        max_width=least + more,
    )


@st.composite
def tasks(draw: st.DrawFn) -> WidthRequest:
    return task(draw(WIDTHS), draw(STEPS), draw(BOUNDS), draw(st.integers(1, 5000)))


def task(
    width: int = 20, n_steps: int = 50, max_mse: float = 1e-4, n_pixels: int = 1024
) -> WidthRequest:
    return WidthRequest(
        width=width,
        n_steps=n_steps,
        n_pixels=torch.tensor(n_pixels),
        patch_pixels=n_pixels,
        max_mse=max_mse,
        cost=lambda width: width * width + 9,
    )


TASK = task()


def no_pilot(n_steps: int) -> Tensor:
    raise AssertionError("no pilot is needed")


def decibels_above(bound: float, by: float) -> float:
    return bound * 10 ** (by / 10)


def assigned(capacity: Capacity, errors: Sequence[float], given: WidthRequest = TASK) -> list[int]:
    whole = replace(given, n_pixels=given.n_pixels.expand(len(errors)))
    return capacity.assign(whole, lambda n_steps: torch.tensor(errors)).tolist()


def widened(
    capacity: Capacity, widths: Sequence[int], errors: Sequence[float], given: WidthRequest = TASK
) -> list[int]:
    return capacity.widen(torch.tensor(widths), torch.tensor(errors), given).tolist()


@given(st.integers(0, 9), tasks())
def test_uniform_widths_are_the_levels_and_take_no_pilot(
    n_blocks: int, given: WidthRequest
) -> None:
    whole = replace(given, n_pixels=given.n_pixels.expand(n_blocks))
    assert UniformCapacity().assign(whole, no_pilot).tolist() == [given.width] * n_blocks


def test_uniform_widths_stay() -> None:
    assert UniformCapacity().max_refits == 0
    assert widened(UniformCapacity(), [3, 4], [1.0, math.nan]) == [3, 4]


@pytest.mark.parametrize(
    ("lacking_db", "width"), [(-0.5, 20), (0.5, 21), (9.9, 31), (19.9, 42), (-10.1, 9)]
)
def test_every_decibel_above_the_bound_costs_features(lacking_db: float, width: int) -> None:
    assert assigned(TargetErrorCapacity(), [decibels_above(1e-4, lacking_db)]) == [width]


@pytest.mark.parametrize(("n_pixels", "width"), [(1024, 31), (256, 26), (64, 23), (4096, 42)])
def test_a_decibel_costs_more_in_larger_patches(n_pixels: int, width: int) -> None:
    errors, larger = [decibels_above(1e-4, 9.9)], task(n_pixels=n_pixels)
    assert assigned(TargetErrorCapacity(), errors, larger) == [width]
    assert widened(TargetErrorCapacity(), [20], errors, larger) == [width]


@pytest.mark.parametrize(("n_steps", "width"), [(1, 31), (50, 31), (500, 27), (5000, 23)])
def test_ten_times_the_steps_gain_what_they_are_said_to(n_steps: int, width: int) -> None:
    assert assigned(TargetErrorCapacity(gain_db=4.0), [0.999e-3], task(n_steps=n_steps)) == [width]


@given(sizings(), ERRORS, tasks())
def test_harder_blocks_get_as_much_or_more(
    capacity: TargetErrorCapacity, errors: list[float], given: WidthRequest
) -> None:
    widths = assigned(capacity, sorted(errors), given)
    assert widths == sorted(widths)


def test_harder_blocks_get_more() -> None:
    widths = assigned(TargetErrorCapacity(), [1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
    assert widths == sorted(set(widths))


@given(sizings(), ERRORS, tasks())
def test_a_block_gets_what_it_would_get_alone(
    capacity: TargetErrorCapacity, errors: list[float], given: WidthRequest
) -> None:
    alone = [assigned(capacity, [error], given)[0] for error in errors]
    assert assigned(capacity, errors, given) == alone


@given(sizings(), st.lists(st.floats(width=32), min_size=1, max_size=8), tasks())
def test_any_width_is_within_the_limits(
    capacity: TargetErrorCapacity, errors: list[float], given: WidthRequest
) -> None:
    widths = assigned(capacity, errors, given)
    again = widened(capacity, widths, errors, given)
    assert capacity.min_width <= min(widths + again) <= max(widths + again) <= capacity.max_width


@pytest.mark.parametrize("error", [math.nan, math.inf])
@given(sizings(), tasks())
def test_a_pilot_that_diverged_gets_the_most(
    error: float, capacity: TargetErrorCapacity, given: WidthRequest
) -> None:
    assert assigned(capacity, [error], given) == [capacity.max_width]


@pytest.mark.parametrize("error", [0.0, 1e-44])
@given(sizings(), STEPS, BOUNDS)
def test_flat_blocks_get_the_least(
    error: float, capacity: TargetErrorCapacity, n_steps: int, bound: float
) -> None:
    assert assigned(capacity, [error], task(1, n_steps, bound)) == [capacity.min_width]


@given(sizings(), ERRORS, tasks(), STEPS)
def test_more_steps_never_ask_for_more(
    capacity: TargetErrorCapacity, errors: list[float], given: WidthRequest, more: int
) -> None:
    few = assigned(capacity, errors, given)
    many = assigned(capacity, errors, replace(given, n_steps=given.n_steps + more))
    assert all(b <= a for a, b in zip(few, many, strict=True))


@given(sizings(), ERRORS, tasks(), st.floats(1, 100))
def test_a_looser_bound_never_asks_for_more(
    capacity: TargetErrorCapacity, errors: list[float], given: WidthRequest, by: float
) -> None:
    tight = assigned(capacity, errors, given)
    loose = assigned(capacity, errors, replace(given, max_mse=by * given.max_mse))
    assert all(b <= a for a, b in zip(tight, loose, strict=True))


@pytest.mark.parametrize(
    "capacity", [TargetErrorCapacity(probe_steps=7), BudgetCapacity(probe_steps=7)]
)
def test_the_pilot_takes_its_own_number_of_steps(capacity: Capacity) -> None:
    asked: list[int] = []

    def probe(n_steps: int) -> Tensor:
        asked.append(n_steps)
        return torch.tensor([1e-3])

    capacity.assign(task(n_steps=1000), probe)
    assert asked == [7]


@given(
    sizings(),
    st.lists(st.tuples(st.floats(0, 1), st.floats(width=32)), min_size=1, max_size=8),
    tasks(),
)
def test_widening_never_narrows(
    capacity: TargetErrorCapacity, blocks: list[tuple[float, float]], given: WidthRequest
) -> None:
    span = capacity.max_width - capacity.min_width
    widths = [capacity.min_width + round(share * span) for share, _ in blocks]
    wider = widened(capacity, widths, [error for _, error in blocks], given)
    assert all(b >= a for a, b in zip(widths, wider, strict=True))


@given(sizings(), WIDTHS, tasks(), st.floats(-50, 0.29))
def test_a_block_at_its_bound_keeps_its_width(
    capacity: TargetErrorCapacity, width: int, given: WidthRequest, by: float
) -> None:
    assert widened(capacity, [width], [decibels_above(given.max_mse, by)], given) == [width]


@given(sizings(), WIDTHS, tasks(), st.floats(0.31, 60))
def test_a_block_that_missed_its_bound_is_widened(
    capacity: TargetErrorCapacity, width: int, given: WidthRequest, by: float
) -> None:
    assume(capacity.min_width <= width < capacity.max_width)
    assert widened(capacity, [width], [decibels_above(given.max_mse, by)], given)[0] > width


def test_a_block_that_missed_more_is_widened_more() -> None:
    errors = [decibels_above(1e-4, by) for by in (0.2, 0.4, 3, 9.9, 100)]
    assert widened(TargetErrorCapacity(), [20] * 5, errors) == [20, 21, 24, 31, 48]


def test_a_block_without_a_fit_is_widened_to_the_most() -> None:
    assert widened(TargetErrorCapacity(), [20], [math.inf]) == [48]


def test_the_widest_stay() -> None:
    assert widened(TargetErrorCapacity(), [48, 48], [1.0, math.inf]) == [48, 48]
