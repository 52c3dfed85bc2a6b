"""Which settings differ between runs, and what each is worth: paired differences, Pareto front."""

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from statistics import fmean, stdev
from typing import Any

from miner.comparison.runs import Result, config_path, is_number, is_setting, mapping, spelling

COSTS = ("n_parameters", "fit_time_s", "bits_per_pixel")
MAIN = ("psnr_db", "ssim", *COSTS, "wall_time_s", "peak_memory_gib", "objective")  # on the page
UNKNOWN = "?"  # a setting that a run was not given and did not record
MOST_COMPARED = 8  # values of a factor, each with each; more of them only with the first
Sample = tuple[str, str, float]  # image, seed, and a number or the difference of two
_TITLES = {
    "psnr_db": "PSNR (dB)",
    "psnr_dtype_db": "PSNR over the type's range (dB)",
    "ssim": "SSIM",
    "seam_ratio": "seam ratio",
    "n_parameters": "parameters",
    "parameters_per_pixel": "parameters per pixel",
    "file_bytes": "file size (bytes)",
    "bits_per_pixel": "bits per pixel",
    "wall_time_s": "time in all (s)",
    "fit_time_s": "fitting time (s)",
    "render_time_s": "rendering time (s)",
    "peak_memory_gib": "peak memory (GiB)",
    "peak_gpu_memory_gib": "peak GPU memory (GiB)",
}


def title(metric: str) -> str:
    """A number's name for people, with its unit, such as `PSNR (dB)`."""
    return _TITLES.get(metric, metric)


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
        unit = title(self.metric).partition(" (")[2].removesuffix(")")
        return f"{self.value} − {self.baseline} = {describe(self.estimate, unit)}"


def compared(values: Sequence[str], known: Collection[str]) -> list[tuple[str, str]]:
    """Which of a factor's values are compared where some are known, baseline first."""
    if len(values) <= MOST_COMPARED:
        return list(combinations([value for value in values if value in known], 2))
    return [(values[0], value) for value in values[1:] if {values[0], value} <= set(known)]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs; a factor is an override other than image and seed whose values differ between them."""

    results: Sequence[Result]

    @cached_property
    def factors(self) -> dict[str, list[str]]:
        """The factors in the order of the runs, each with its known values, numbers ascending."""
        found = {}
        for key in dict.fromkeys(key for result in self.results for key in result.overrides):
            values = dict.fromkeys(self.value(result, key) for result in self.results)
            if is_setting(key) and len(values) > 1:
                values.pop(UNKNOWN, None)
                numeric = all(map(is_number, values))
                found[key] = sorted(values, key=float) if numeric else list(values)
        return found

    @cached_property
    def finished(self) -> list[Result]:
        """The runs that have numbers."""
        return [result for result in self.results if result.status == "finished"]

    @cached_property
    def metrics(self) -> list[str]:
        """Names of the reports' numbers, in the order of the reports."""
        return list(dict.fromkeys(name for result in self.finished for name in result.numbers))

    @cached_property
    def added(self) -> dict[str, bool]:
        """The numbers of a run's `metrics`, and whether more is better."""
        found = (mapping(run.report.get("higher_is_better")) for run in self.finished)
        return {name: more for run in found for name, more in run.items() if name in self.metrics}

    @cached_property
    def by_setting(self) -> dict[tuple[str, ...], list[Result]]:
        """The finished runs by their values of all factors."""
        found: dict[tuple[str, ...], list[Result]] = defaultdict(list)
        for result in self.finished:
            found[self.setting(result)].append(result)
        return found

    @cached_property
    def whole_settings(self) -> dict[tuple[str, ...], list[Result]]:
        """Those of `by_setting` that have finished on every image."""
        n_images = len({run.image for run in self.finished})
        settings = self.by_setting.items()
        return {k: runs for k, runs in settings if len({run.image for run in runs}) == n_images}

    def value(self, result: Result, factor: str) -> str:
        """A run's value of a factor: as typed, or else from its composed settings."""
        found = result.overrides.get(factor, result.choices.get(factor))
        if found is None and factor == "experiment" and result.choices:
            return "none"  # the one group without an option by default
        return result.settings.get(factor, UNKNOWN) if found is None else spelling(found)

    def setting(self, result: Result, *without: str) -> tuple[str, ...]:
        """The run's values of all factors but `without`, in the order of `factors`."""
        return tuple(self.value(result, name) for name in self.factors if name not in without)

    def remainder(self, result: Result, factor: str) -> frozenset[tuple[str, str]]:
        """All else that a run was configured with, but for a factor."""
        if factor.startswith("experiment") or factor == "method":
            return frozenset()  # these may set anything
        covered = f"{config_path(factor)}."
        settings = result.settings.items()
        return frozenset(item for item in settings if not f"{item[0]}.".startswith(covered))

    def differences(self, factor: str, metric: str) -> list[Difference]:
        """Those of the pairs of a factor's values; equal runs are averaged first."""
        values = self.factors[factor]
        found: dict[tuple[str, str], list[Sample]] = {pair: [] for pair in compared(values, values)}
        for (image, seed, *_), runs in self._groups[factor].items():
            numbers = {
                value: [run.numbers[metric] for run in equal if metric in run.numbers]
                for value, equal in runs.items()
            }
            means = {value: fmean(known) for value, known in numbers.items() if known}
            for baseline, value in compared(values, means):
                found[baseline, value].append((image, seed, means[value] - means[baseline]))
        return [Difference(*pair, metric, estimate(each)) for pair, each in found.items() if each]

    @cached_property
    def _groups(self) -> dict[str, dict[Any, dict[str, list[Result]]]]:
        """Runs that differ in a factor alone, by its values; keys begin with image and seed."""
        found: Any = {factor: defaultdict(lambda: defaultdict(list)) for factor in self.factors}
        for factor, run in product(self.factors, self.finished):
            if (value := self.value(run, factor)) != UNKNOWN:
                rest = self.setting(run, factor), self.remainder(run, factor)
                found[factor][run.image, run.seed, *rest][value].append(run)
        return dict(found)
