"""Curves of fits that ran one after another, as one."""

from miner.fitting.block_fit import merge_curves, no_longer_than

LONG = ((10, 1.0, 8.0), (20, 2.0, 4.0), (30, 3.0, 2.0))
SHORT = ((10, 0.5, 1.0),)


def test_one_curve_is_itself_and_none_is_empty() -> None:
    assert merge_curves([LONG]) == LONG
    assert merge_curves([]) == ()


def test_a_fit_that_stopped_early_keeps_its_last_values() -> None:
    merged = ((10, 1.5, 9.0), (20, 2.5, 5.0), (30, 3.5, 3.0))
    assert merge_curves([LONG, SHORT]) == merge_curves([SHORT, LONG]) == merged


def test_a_fit_counts_before_its_first_check() -> None:
    late = ((20, 1.0, 5.0),)
    assert merge_curves([SHORT, late]) == ((10, 1.5, 6.0), (20, 1.5, 6.0))


def test_concurrent_fits_take_less_than_their_sum() -> None:
    assert no_longer_than(LONG, 1.5) == ((10, 0.5, 8.0), (20, 1.0, 4.0), (30, 1.5, 2.0))


def test_fits_one_after_another_keep_their_seconds() -> None:
    assert no_longer_than(LONG, 4.0) == LONG
    assert no_longer_than((), 4.0) == ()


def test_a_curve_may_begin_later() -> None:
    assert no_longer_than(SHORT, 0.25, start_s=2.0) == ((10, 2.25, 1.0),)
