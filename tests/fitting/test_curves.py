"""Curves of parts that ran one after another, as one."""

from miner.fitting.best_state import merge_curves, no_longer_than, scaled

LONG = ((10, 1.0, 8.0), (20, 2.0, 4.0), (30, 3.0, 2.0))
SHORT = ((10, 0.5, 1.0),)


def test_one_curve_is_itself() -> None:
    assert merge_curves([LONG]) == LONG


def test_no_curves_are_none() -> None:
    assert merge_curves([]) == ()


def test_a_part_that_stopped_early_keeps_its_last_values() -> None:
    merged = ((10, 1.5, 9.0), (20, 2.5, 5.0), (30, 3.5, 3.0))
    assert merge_curves([LONG, SHORT]) == merge_curves([SHORT, LONG]) == merged


def test_a_part_counts_before_its_first_check() -> None:
    late = ((20, 1.0, 5.0),)
    assert merge_curves([SHORT, late]) == ((10, 1.5, 6.0), (20, 1.5, 6.0))


def test_scaling_is_of_errors_alone() -> None:
    assert scaled(SHORT, 3.0) == ((10, 0.5, 3.0),)


def test_parts_side_by_side_take_less_than_their_sum() -> None:
    assert no_longer_than(LONG, 1.5) == ((10, 0.5, 8.0), (20, 1.0, 4.0), (30, 1.5, 2.0))


def test_parts_one_after_another_keep_their_seconds() -> None:
    assert no_longer_than(LONG, 4.0) == LONG
    assert no_longer_than((), 4.0) == ()
