"""Differences between a factor's values: paired, and at equal cost."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product
from typing import NamedTuple, TypeVar

import numpy as np

from miner.comparison.comparison import COSTS, QUALITIES, UNKNOWN, Comparison, label
from miner.comparison.runs import Result, is_number
from miner.comparison.statistics import Estimate, Sample, describe, estimate

MOST_COMPARED = 8
"""Up to this many values of a factor are compared each with each, more only with the first."""

ALL_ELSE = "all else equal"

_LEAST_POINTS = 3
_LEAST_OVERLAP = 0.25

T = TypeVar("T")


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


class Curve(NamedTuple):
    """Quality over cost, cost ascending, both of one length."""

    cost: Sequence[float]
    quality: Sequence[float]


class Group(NamedTuple):
    """Runs that differ in the varied factors alone, by the values of these."""

    image: str
    seed: str
    setting: tuple[str, ...]
    runs: dict[tuple[str, ...], list[Result]]


def paired_differences(comparison: Comparison, factor: str, metric: str) -> list[Difference]:
    """The pairs of values: first over all settings, then in each setting of the other factors.

    Equal runs are averaged first. Seeds (and settings, where these are averaged over) are averaged
    within an image; the interval is Student's over images.
    """

    def means(group: Group) -> dict[str, float]:
        found = {value: mean_number(runs, metric) for (value,), runs in group.runs.items()}
        return {value: mean for value, mean in found.items() if mean is not None}

    return _differences(comparison, (factor,), metric, means, lambda one, other: other - one)


def differences_at_equal_cost(
    comparison: Comparison, factor: str, along: str, cost: str, metric: str = "psnr_db"
) -> list[Difference]:
    """The paired differences of a factor between curves over `cost` that `along` draws.

    As `paired_differences`, with one difference for each image, seed and setting of the factors
    other than these two. Curves whose costs do not overlap give none.
    """

    def curves(group: Group) -> dict[str, Curve]:
        by_value: dict[str, list[Sequence[Result]]] = defaultdict(list)
        for (value, _), runs in group.runs.items():
            by_value[value].append(runs)
        found = {value: _curve(runs, cost, metric) for value, runs in by_value.items()}
        return {value: curve for value, curve in found.items() if curve}

    return _differences(comparison, (factor, along), metric, curves, mean_distance)


def all_differences(
    comparison: Comparison, factor: str, metrics: Sequence[str], costs: Sequence[str] = COSTS
) -> dict[str, dict[str, list[Difference]]]:
    """A factor's differences by what is held equal, then by metric."""
    found = {
        ALL_ELSE: {metric: paired_differences(comparison, factor, metric) for metric in metrics}
    }
    for along, cost in product(sweeps_beyond(comparison, factor), costs):
        equal = {
            metric: differences_at_equal_cost(comparison, factor, along, cost, metric)
            for metric in QUALITIES
            if metric in metrics
        }
        if any(equal.values()):
            found[f"equal {label(cost)[0]} along {along}"] = equal
    return found


def overall(differences: Sequence[Difference]) -> list[Difference]:
    """Those over all settings, without those in each one."""
    return [each for each in differences if not each.setting]


def compared(values: Sequence[str], known: Collection[str]) -> list[tuple[str, str]]:
    """Which of a factor's values are compared where some are known, baseline first."""
    if len(values) <= MOST_COMPARED:
        return list(combinations([value for value in values if value in known], 2))
    return [(values[0], value) for value in values[1:] if {values[0], value} <= set(known)]


def mean_number(results: Sequence[Result], metric: str) -> float | None:
    """A number's mean over the runs that have it; None where none has."""
    found = [result.numbers[metric] for result in results if metric in result.numbers]
    return sum(found) / len(found) if found else None


def sweeps_beyond(comparison: Comparison, factor: str) -> list[str]:
    """Other factors that draw a curve: at least three values, all numbers."""
    return [
        other
        for other, values in comparison.factors.items()
        if other != factor and len(values) >= _LEAST_POINTS and all(map(is_number, values))
    ]


def mean_distance(baseline: Curve, other: Curve) -> float | None:
    """How far `other` is above `baseline`, mean over the log cost that both span.

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


def _differences(
    comparison: Comparison,
    varied: tuple[str, ...],
    metric: str,
    measure: Callable[[Group], dict[str, T]],
    subtract: Callable[[T, T], float | None],
) -> list[Difference]:
    """Subtract, within each group, what was measured for the values of the first varied factor."""
    factor = varied[0]
    values = comparison.factors[factor]
    found: dict[tuple[str, str], list[Sample]] = {pair: [] for pair in compared(values, values)}
    for group in _groups(comparison, varied):
        measured = measure(group)
        for baseline, value in compared(values, measured):
            amount = subtract(measured[baseline], measured[value])
            if amount is not None:
                sample = Sample(group.image, group.seed, group.setting, amount)
                found[baseline, value].append(sample)
    names = [name for name in comparison.factors if name not in varied]
    return [
        Difference(baseline, value, metric, setting, estimate(chosen))
        for (baseline, value), samples in found.items()
        for setting, chosen in _by_setting(samples, names)
    ]


@lru_cache(maxsize=32)  # by identity: the same groups serve all metrics
def _groups(comparison: Comparison, varied: tuple[str, ...]) -> list[Group]:
    found: dict[tuple[object, ...], Group] = {}
    for result in comparison.finished:
        values = tuple(comparison.value(result, factor) for factor in varied)
        if UNKNOWN not in values:
            setting = comparison.setting(result, *varied)
            key = result.image, result.seed, setting, comparison.remainder(result, *varied)
            group = found.setdefault(key, Group(*key[:3], defaultdict(list)))
            group.runs[values].append(result)
    return list(found.values())


def _by_setting(
    samples: Sequence[Sample], names: Sequence[str]
) -> list[tuple[dict[str, str], Sequence[Sample]]]:
    """All samples, then those of each setting of the factors `names` if there are several."""
    if not samples:
        return []
    groups: dict[tuple[str, ...], list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.setting].append(sample)
    single = [(dict(zip(names, key, strict=True)), chosen) for key, chosen in groups.items()]
    return [({}, samples), *(single if len(single) > 1 else [])]


def _curve(points: Sequence[Sequence[Result]], cost: str, metric: str) -> Curve | None:
    """Quality over cost through the means of equal runs; None where these are too few."""
    by_cost: dict[float, list[float]] = defaultdict(list)
    for runs in points:
        known = [run for run in runs if metric in run.numbers and cost in run.numbers]
        amount, quality = mean_number(known, cost), mean_number(known, metric)
        if amount and quality is not None and amount > 0:
            by_cost[amount].append(quality)
    if len(by_cost) < _LEAST_POINTS:
        return None
    costs = sorted(by_cost)
    return Curve(costs, [sum(by_cost[each]) / len(by_cost[each]) for each in costs])
