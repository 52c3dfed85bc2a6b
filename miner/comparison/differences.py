"""Paired differences between a factor's values."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from statistics import fmean

from miner.comparison.comparison import UNKNOWN, Comparison, label
from miner.comparison.runs import Result
from miner.comparison.statistics import Estimate, Sample, describe, estimate

MOST_COMPARED = 8
"""Up to this many values of a factor are compared each with each, more only with the first."""

_Key = tuple[str, str, tuple[str, ...], frozenset[tuple[str, str]]]  # image, seed, setting, rest
_Runs = Mapping[str, Sequence[Result]]  # by their values of the factor


@dataclass(frozen=True)
class Difference:
    """`value` minus `baseline` of a factor, over all settings of the others."""

    baseline: str
    value: str
    metric: str
    estimate: Estimate

    def __str__(self) -> str:
        """One line, such as `laplacian − gaussian = +2.6 dB ± 0.4 (6 images x 3 seeds)`."""
        return f"{self.value} − {self.baseline} = {describe(self.estimate, label(self.metric)[1])}"


def paired_differences(comparison: Comparison, factor: str, metric: str) -> list[Difference]:
    """The pairs of a factor's values. Equal runs are averaged first; then as by `estimate`."""
    values = comparison.factors[factor]
    found: dict[tuple[str, str], list[Sample]] = {pair: [] for pair in compared(values, values)}
    for (image, seed, *_), runs in _groups(comparison, factor).items():
        numbers = {
            value: [run.numbers[metric] for run in equal if metric in run.numbers]
            for value, equal in runs.items()
        }
        means = {value: fmean(known) for value, known in numbers.items() if known}
        for baseline, value in compared(values, means):
            found[baseline, value].append((image, seed, means[value] - means[baseline]))
    return [Difference(*pair, metric, estimate(each)) for pair, each in found.items() if each]


def compared(values: Sequence[str], known: Collection[str]) -> list[tuple[str, str]]:
    """Which of a factor's values are compared where some are known, baseline first."""
    if len(values) <= MOST_COMPARED:
        return list(combinations([value for value in values if value in known], 2))
    return [(values[0], value) for value in values[1:] if {values[0], value} <= set(known)]


@lru_cache(maxsize=32)  # by identity: the same groups serve all metrics
def _groups(comparison: Comparison, factor: str) -> Mapping[_Key, _Runs]:
    """Runs that differ in the factor alone."""
    found: dict[_Key, dict[str, list[Result]]] = {}
    for result in comparison.finished:
        value = comparison.value(result, factor)
        if value != UNKNOWN:
            setting = comparison.setting(result, factor)
            key = result.image, result.seed, setting, comparison.remainder(result, factor)
            found.setdefault(key, defaultdict(list))[value].append(result)
    return found
