"""Curves of a fit: summed squared error against steps and seconds."""

from collections.abc import Sequence

Curve = tuple[tuple[int, float, float], ...]
"""(steps so far, seconds so far, summed squared error) in the order of time."""


def merge_curves(curves: Sequence[Curve]) -> Curve:
    """Sum (step, seconds, squared error) curves over parts that ran one after another.

    A part that stopped early keeps its last values.
    """
    steps = sorted({step for curve in curves for step, _, _ in curve})
    return tuple(
        (
            step,
            sum(_last(curve, step)[1] for curve in curves),
            sum(_last(curve, step)[2] for curve in curves),
        )
        for step in steps
    )


def _last(curve: Curve, step: int) -> tuple[int, float, float]:
    return max((point for point in curve if point[0] <= step), default=curve[0])


def scaled(curve: Curve, factor: float) -> Curve:
    """The curve with its errors multiplied."""
    return tuple((step, seconds, factor * error) for step, seconds, error in curve)
