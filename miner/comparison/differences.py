"""Differences between a factor's values: paired, and at equal cost."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TypeVar

import numpy as np

from miner.comparison.comparison import UNKNOWN, Comparison, label
from miner.comparison.runs import Result
from miner.comparison.statistics import Estimate, Sample, describe, estimate

MOST_COMPARED = 8
"""Up to this many values of a factor are compared each with each, more only with the first."""

_LEAST_POINTS = 3
_LEAST_OVERLAP = 0.25

Curve = tuple[Sequence[float], Sequence[float]]
"""Costs, ascending, and the quality at each."""

T = TypeVar("T")
_Key = tuple[str, str, tuple[str, ...], frozenset[tuple[str, str]]]  # image, seed, setting, rest
_Runs = Mapping[tuple[str, ...], Sequence[Result]]  # by their values of the varied factors


@dataclass(frozen=True)
class Difference:
    """`value` minus `baseline` of a factor, in units of a metric.

    `setting` holds the other factors' values, or is empty where all of them were averaged over.
    """

    baseline: str
    value: str
    metric: str
    setting: Mapping[str, str]
    estimate: Estimate

    def __str__(self) -> str:
        """One line, such as `laplacian − gaussian = +2.6 dB ± 0.4 (6 images x 3 seeds)`."""
        return f"{self.value} − {self.baseline} = {describe(self.estimate, label(self.metric)[1])}"


def paired_differences(comparison: Comparison, factor: str, metric: str) -> list[Difference]:
    """The pairs of values: first over all settings, then in each setting of the other factors.

    Equal runs are averaged first; then as by `estimate`.
    """

    def means(runs: _Runs) -> dict[str, float]:
        found = {value: _numbers(equal, metric) for (value,), equal in runs.items()}
        return {value: _mean(numbers) for value, numbers in found.items() if numbers}

    return _differences(comparison, (factor,), metric, means, lambda one, other: other - one)


def differences_at_equal_cost(
    comparison: Comparison, factor: str, along: str, cost: str, metric: str = "psnr_db"
) -> list[Difference]:
    """The paired differences of a factor between curves over `cost` that `along` draws.

    As `paired_differences`, but of curves; those whose costs do not overlap give none.
    """

    def curves(runs: _Runs) -> dict[str, Curve]:
        points: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
        for (value, _), equal in runs.items():
            known = [run for run in equal if metric in run.numbers and cost in run.numbers]
            if known and (amount := _mean(_numbers(known, cost))) > 0:
                points[value][amount].append(_mean(_numbers(known, metric)))
        return {
            value: (sorted(by_cost), [_mean(by_cost[amount]) for amount in sorted(by_cost)])
            for value, by_cost in points.items()
            if len(by_cost) >= _LEAST_POINTS
        }

    return _differences(comparison, (factor, along), metric, curves, mean_distance)


def overall(differences: Sequence[Difference]) -> list[Difference]:
    """Those over all settings, without those in each one."""
    return [each for each in differences if not each.setting]


def compared(values: Sequence[str], known: Collection[str]) -> list[tuple[str, str]]:
    """Which of a factor's values are compared where some are known, baseline first."""
    if len(values) <= MOST_COMPARED:
        return list(combinations([value for value in values if value in known], 2))
    return [(values[0], value) for value in values[1:] if {values[0], value} <= set(known)]


def mean_distance(baseline: Curve, other: Curve) -> float | None:
    """How far `other` is above `baseline`, mean over the log cost that both span.

    None where that is less than a quarter of the shorter curve: one curve's best would be compared
    with the other's worst.
    """
    one, two = np.log(baseline[0]), np.log(other[0])
    low, high = max(one[0], two[0]), min(one[-1], two[-1])
    if high - low < _LEAST_OVERLAP * min(one[-1] - one[0], two[-1] - two[0]):
        return None
    knots = np.unique(np.clip(np.concatenate([one, two]), low, high))
    distance = np.interp(knots, two, other[1]) - np.interp(knots, one, baseline[1])
    return float(np.trapezoid(distance, knots) / (high - low))


def _differences(
    comparison: Comparison,
    varied: tuple[str, ...],
    metric: str,
    measure: Callable[[_Runs], dict[str, T]],
    subtract: Callable[[T, T], float | None],
) -> list[Difference]:
    """Subtract, within each group, what was measured for the values of the first varied factor."""
    values = comparison.factors[varied[0]]
    found: dict[tuple[str, str], dict[tuple[str, ...], list[Sample]]]
    found = {pair: defaultdict(list) for pair in compared(values, values)}
    for (image, seed, setting, _), runs in _groups(comparison, varied).items():
        measured = measure(runs)
        for baseline, value in compared(values, measured):
            amount = subtract(measured[baseline], measured[value])
            if amount is not None:
                found[baseline, value][setting].append((image, seed, amount))
    names = [name for name in comparison.factors if name not in varied]
    differences = []
    for (baseline, value), by_setting in found.items():
        everywhere = [sample for samples in by_setting.values() for sample in samples]
        if everywhere:
            differences.append(Difference(baseline, value, metric, {}, estimate(everywhere)))
        if len(by_setting) > 1:
            for chosen, samples in by_setting.items():
                fixed = dict(zip(names, chosen, strict=True))
                differences.append(Difference(baseline, value, metric, fixed, estimate(samples)))
    return differences


@lru_cache(maxsize=32)  # by identity: the same groups serve all metrics
def _groups(comparison: Comparison, varied: tuple[str, ...]) -> Mapping[_Key, _Runs]:
    """Runs that differ in the varied factors alone."""
    found: dict[_Key, dict[tuple[str, ...], list[Result]]] = {}
    for result in comparison.finished:
        values = tuple(comparison.value(result, factor) for factor in varied)
        if UNKNOWN not in values:
            setting = comparison.setting(result, *varied)
            key = result.image, result.seed, setting, comparison.remainder(result, *varied)
            found.setdefault(key, defaultdict(list))[values].append(result)
    return found


def _numbers(results: Sequence[Result], metric: str) -> list[float]:
    return [result.numbers[metric] for result in results if metric in result.numbers]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
