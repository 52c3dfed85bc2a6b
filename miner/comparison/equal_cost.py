"""Differences at equal cost: curves of quality over cost, read at the same cost.

A factor that changes both quality and size is judged by the curves that a third setting, such as
`model.width`, draws: as in Bjøntegaard's delta PSNR (ITU-T VCEG-M33, 2001), the mean vertical
distance of two curves over the logarithm of the cost that both span, here between straight lines
rather than polynomials, since three points hardly bear more.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from miner.comparison.comparison import UNKNOWN, Comparison, is_number
from miner.comparison.differences import (
    Difference,
    by_setting,
    compared,
    mean_numbers,
)
from miner.comparison.estimate import Pair, estimate
from miner.comparison.results import Result

_LEAST_POINTS = 3
_LEAST_OVERLAP = 0.25


@dataclass(frozen=True)
class Curve:
    """Quality over cost, cost ascending, both of one length."""

    cost: Sequence[float]
    quality: Sequence[float]


def sweeps_along(comparison: Comparison) -> list[str]:
    """Factors that draw a curve: at least three values, all numbers."""
    return [
        factor
        for factor in comparison.factors
        if len(comparison.values(factor)) >= _LEAST_POINTS
        and all(map(is_number, comparison.values(factor)))
    ]


def differences_at_equal_cost(
    comparison: Comparison, factor: str, along: str, cost: str, metric: str = "psnr_db"
) -> list[Difference]:
    """The paired differences of a factor between curves over `cost` that `along` draws.

    As `paired_differences`, with one difference for each image, seed and setting of the factors
    other than these two. Curves whose costs do not overlap give none.
    """
    values = comparison.values(factor)
    names = [name for name in comparison.factors if name not in (factor, along)]
    found: dict[tuple[str, str], list[Pair]] = {pair: [] for pair in compared(values)}
    for (image, seed, (setting, _)), runs in _families(comparison, factor, along).items():
        curves = {v: curve for v, own in runs.items() if (curve := _curve(own, cost, metric))}
        for baseline, value in compared(values, curves):
            amount = mean_distance(curves[baseline], curves[value])
            if amount is not None:
                found[baseline, value].append(Pair(image, seed, setting, amount))
    return [
        Difference(factor, baseline, value, metric, setting, estimate(own))
        for (baseline, value), pairs in found.items()
        for setting, own in by_setting(pairs, names)
    ]


def mean_distance(baseline: Curve, other: Curve) -> float | None:
    """How far `other` lies above `baseline`, mean over the log cost that both span.

    None where that is less than a quarter of the shorter curve: one curve's best would be compared
    with the other's worst.
    """
    log_one, log_two = np.log(baseline.cost), np.log(other.cost)
    low, high = max(log_one[0], log_two[0]), min(log_one[-1], log_two[-1])
    shorter = min(log_one[-1] - log_one[0], log_two[-1] - log_two[0])
    if high - low < _LEAST_OVERLAP * shorter:
        return None
    knots = np.unique(np.clip(np.concatenate([log_one, log_two]), low, high))
    distance = np.interp(knots, log_two, other.quality) - np.interp(
        knots, log_one, baseline.quality
    )
    return float(np.trapezoid(distance, knots) / (high - low))


Runs = Mapping[str, Sequence[Result]]
Family = tuple[str, str, tuple[tuple[str, ...], tuple[str, ...]]]


def _families(
    comparison: Comparison, factor: str, along: str
) -> dict[Family, dict[str, dict[str, list[Result]]]]:
    """Runs that differ in the two factors alone, by the factor's value and by that of `along`."""
    found: dict[Family, dict[str, dict[str, list[Result]]]] = defaultdict(dict)
    for result in comparison.finished:
        value, place = comparison.value(result, factor), comparison.value(result, along)
        if UNKNOWN not in (value, place):
            key = comparison.image(result), result.seed, comparison.others(result, factor, along)
            found[key].setdefault(value, {}).setdefault(place, []).append(result)
    return found


def _curve(runs: Runs, cost: str, metric: str) -> Curve | None:
    """Quality over cost through the means of equal runs; None where these are too few."""
    by_cost: dict[float, list[float]] = defaultdict(list)
    for own in runs.values():
        numbers = mean_numbers([r for r in own if metric in r.numbers and cost in r.numbers])
        if numbers.get(cost, 0) > 0:
            by_cost[numbers[cost]].append(numbers[metric])
    if len(by_cost) < _LEAST_POINTS:
        return None
    costs = sorted(by_cost)
    return Curve(costs, [sum(by_cost[each]) / len(by_cost[each]) for each in costs])
