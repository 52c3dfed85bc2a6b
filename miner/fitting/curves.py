"""Curves of a fit: summed squared error against steps and seconds."""

from collections.abc import Sequence

Curve = tuple[tuple[int, float, float], ...]
"""(steps so far, seconds so far, summed squared error) in the order of time."""


def merge_curves(curves: Sequence[Curve]) -> Curve:
    """Sum (step, seconds, squared error) curves over parts that ran one after another.

    A part that stopped early keeps its last values.
    """
    points = [(point[0], part, *point[1:]) for part, curve in enumerate(curves) for point in curve]
    last = [(curve[0][1], curve[0][2]) for curve in curves]
    merged: dict[int, tuple[float, float]] = {}
    for step, part, seconds, error in sorted(points):
        last[part] = (seconds, error)
        merged[step] = (sum(s for s, _ in last), sum(e for _, e in last))
    return tuple((step, seconds, error) for step, (seconds, error) in merged.items())


def scaled(curve: Curve, factor: float) -> Curve:
    """The curve with its errors multiplied."""
    return tuple((step, seconds, factor * error) for step, seconds, error in curve)


def no_longer_than(curve: Curve, seconds: float) -> Curve:
    """The curve of parts of which some ran side by side, so that all took no more than this."""
    longest = max((at for _, at, _ in curve), default=0.0)
    factor = seconds / longest if longest > seconds else 1.0
    return tuple((step, factor * at, error) for step, at, error in curve)


def later(curve: Curve, seconds: float) -> Curve:
    """The curve of a part that began some seconds later."""
    return tuple((step, at + seconds, error) for step, at, error in curve)
