"""Differences between settings: paired, and at equal cost."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from miner.comparison.comparison import UNKNOWN, Comparison, is_number, unit
from miner.comparison.runs import Result
from miner.comparison.statistics import Estimate, Pair, describe, estimate

MOST_COMPARED = 8
"""Up to this many values of a factor are compared each with each, more only with the first."""


@dataclass(frozen=True)
class Difference:
    """`value` minus `baseline` of a factor, in units of a metric.

    `setting` holds the other factors' values, or is empty where all of them were averaged over.
    """

    factor: str
    baseline: str
    value: str
    metric: str
    setting: Mapping[str, str]
    estimate: Estimate

    def __str__(self) -> str:
        """One line, such as `laplacian − gaussian = +2.6 dB ± 0.4 (6 images x 3 seeds)`."""
        return f"{self.value} − {self.baseline} = {describe(self.estimate, unit(self.metric))}"


@dataclass(frozen=True)
class Twins:
    """Runs that are equal but for one factor; `numbers` by the factor's value.

    Runs that are equal in this too are averaged.
    """

    image: str
    seed: str
    setting: tuple[str, ...]
    numbers: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Pairing:
    """A comparison's runs, paired for one factor."""

    comparison: Comparison
    factor: str

    def differences(self, metric: str) -> list[Difference]:
        """The pairs of values: first over all settings, then in each setting of the rest.

        Seeds (and settings, where these are averaged over) are averaged within an image; the
        interval is Student's over images.
        """
        values = self.comparison.values(self.factor)
        found: dict[tuple[str, str], list[Pair]] = {pair: [] for pair in compared(values)}
        for twins in self.twins:
            known = {v: own[metric] for v, own in twins.numbers.items() if metric in own}
            for pair in found if len(known) == len(values) else compared(values, known):
                amount = known[pair[1]] - known[pair[0]]
                found[pair].append(Pair(twins.image, twins.seed, twins.setting, amount))
        names = [name for name in self.comparison.factors if name != self.factor]
        return [
            Difference(self.factor, baseline, value, metric, setting, estimate(own))
            for (baseline, value), pairs in found.items()
            for setting, own in by_setting(pairs, names)
        ]

    @cached_property
    def twins(self) -> list[Twins]:
        """The groups of runs that differ in the factor alone."""
        groups: dict[tuple[object, ...], dict[str, list[Result]]] = defaultdict(dict)
        for result in self.comparison.finished:
            value = self.comparison.value(result, self.factor)
            if value != UNKNOWN:
                others = self.comparison.others(result, self.factor)
                key = self.comparison.image(result), result.seed, others
                groups[key].setdefault(value, []).append(result)
        found = []
        for own in groups.values():
            if len(own) > 1:
                first = next(iter(own.values()))[0]
                setting = self.comparison.setting(first, self.factor)
                numbers = {value: mean_numbers(runs) for value, runs in own.items()}
                image = self.comparison.image(first)
                found.append(Twins(image, first.seed, setting, numbers))
        return found


def paired_differences(comparison: Comparison, factor: str, metric: str) -> list[Difference]:
    """What the factor's values differ by; see `Pairing.differences`."""
    return Pairing(comparison, factor).differences(metric)


def compared(values: Sequence[str], known: Collection[str] | None = None) -> list[tuple[str, str]]:
    """Which values are compared, baseline first; with `known`, only pairs of these."""
    own = [value for value in values if known is None or value in known]
    if len(values) <= MOST_COMPARED:
        return list(combinations(own, 2))
    return [(values[0], value) for value in own if value != values[0] and values[0] in own]


def by_setting(
    pairs: Sequence[Pair], names: Sequence[str]
) -> Iterator[tuple[dict[str, str], Sequence[Pair]]]:
    """All pairs together, then those of each setting of the factors `names`, where several."""
    if pairs:
        yield {}, pairs
    groups: dict[tuple[str, ...], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.setting].append(pair)
    if len(groups) > 1:
        for setting, own in groups.items():
            yield dict(zip(names, setting, strict=True)), own


def mean_numbers(results: Sequence[Result]) -> dict[str, float]:
    """Each number's mean over the runs that have it."""
    found: dict[str, list[float]] = defaultdict(list)
    for result in results:
        for name, value in result.numbers.items():
            found[name].append(value)
    return {name: sum(own) / len(own) for name, own in found.items()}


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
