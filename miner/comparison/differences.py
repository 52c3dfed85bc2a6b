"""Paired differences between a factor's values, with confidence intervals, and the Pareto front."""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from statistics import fmean, stdev
from typing import Any

from miner.comparison.comparison import UNKNOWN, Comparison, label
from miner.comparison.runs import Result

MOST_COMPARED = 8  # values of a factor, each with each; more of them only with the first
Sample = tuple[str, str, float]  # image, seed, and a number or the difference of two


@dataclass(frozen=True)
class Estimate:
    """A mean over images with its 95 % interval `mean ± half_width`."""

    mean: float
    half_width: float | None  # None where there is one image
    n_images: int
    n_seeds: tuple[int, int]  # the least and the most of an image


def estimate(samples: Sequence[Sample]) -> Estimate:
    """Average the samples of a seed, the seeds of an image, then images: Student's interval."""
    from scipy.special import stdtrit  # a tenth of the time that scipy.stats takes to import

    by_image: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for image, seed, amount in samples:
        by_image[image][seed].append(amount)
    means = [fmean([fmean(amounts) for amounts in seeds.values()]) for seeds in by_image.values()]
    half_width = None
    if len(means) > 1:
        quantile = float(stdtrit(len(means) - 1, 0.975))
        half_width = quantile * stdev(means) / math.sqrt(len(means))
    n_seeds = [len(seeds) for seeds in by_image.values()]
    return Estimate(fmean(means), half_width, len(means), (min(n_seeds), max(n_seeds)))


def means(runs: Sequence[Result], metrics: Sequence[str]) -> dict[str, float]:
    """Means over runs, then over images, of the numbers that every image has."""
    found = {}
    for metric in metrics:
        known = [run for run in runs if metric in run.numbers]
        if {run.image for run in known} == {run.image for run in runs}:
            samples = [(run.image, run.name, run.numbers[metric]) for run in known]
            found[metric] = estimate(samples).mean
    return found


def describe(amount: Estimate, unit: str = "") -> str:
    """`+2.6 dB ± 0.4 (6 images x 3 seeds)`, to digits that the interval warrants."""
    width = amount.half_width
    digits = _decimals(width, 2) if width else _decimals(amount.mean, 3)
    mean = f"{amount.mean:+,.{digits}f}".replace("-", "−") + (f" {unit}" if unit else "")
    spread = "" if width is None else f" ± {width:,.{digits}f}"
    least, most = amount.n_seeds
    images = f"{amount.n_images} image{'' if amount.n_images == 1 else 's'}"
    seeds = f"{least} seed{'' if most == 1 else 's'}" if least == most else f"{least}–{most} seeds"
    return f"{mean}{spread} ({images} x {seeds})"


def _decimals(size: float, significant: int) -> int:
    """Decimals that show that many digits of a number, few of one that is nearly zero."""
    exponent = math.floor(math.log10(abs(size))) if size else significant
    return min(6, max(0, significant - 1 - exponent))


def pareto_front(costs: Sequence[float], qualities: Sequence[float]) -> list[int]:
    """Indices, cost ascending, of the points that no other matches in both and beats in one."""
    front: list[int] = []
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], -qualities[i])):
        if not front or qualities[index] > qualities[front[-1]]:
            front.append(index)
    return front


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
    """Those of the pairs of a factor's values; equal runs are averaged first."""
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
def _groups(comparison: Comparison, factor: str) -> Mapping[Any, Mapping[str, list[Result]]]:
    """Runs that differ in the factor alone, by its values; keys begin with image and seed."""
    found: dict[Any, dict[str, list[Result]]] = {}
    for result in comparison.finished:
        value = comparison.value(result, factor)
        if value != UNKNOWN:
            setting = comparison.setting(result, factor)
            key = result.image, result.seed, setting, comparison.remainder(result, factor)
            found.setdefault(key, defaultdict(list))[value].append(result)
    return found
