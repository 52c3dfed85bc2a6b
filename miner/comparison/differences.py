"""Paired differences: what a factor's value is worth, all else equal."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from miner.comparison.comparison import UNKNOWN, Comparison
from miner.comparison.estimate import Estimate, Pair, describe, estimate
from miner.comparison.labels import unit
from miner.comparison.results import Result

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
