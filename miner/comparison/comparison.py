"""Which settings differ between runs, and what the reports' numbers are called."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from miner.comparison.runs import Result, config_path, is_number, is_setting, mapping, spelling

COSTS = ("n_parameters", "fit_time_s", "bits_per_pixel")
MAIN = ("psnr_db", "ssim", *COSTS, "wall_time_s", "peak_memory_gib", "objective")  # on the page
UNKNOWN = "?"  # a setting that a run was not given and did not record
_LABELS = {
    "psnr_db": ("PSNR", "dB"),
    "psnr_dtype_db": ("PSNR over the type's range", "dB"),
    "ssim": ("SSIM", ""),
    "seam_ratio": ("seam ratio", ""),
    "n_parameters": ("parameters", ""),
    "parameters_per_pixel": ("parameters per pixel", ""),
    "file_bytes": ("file size", "bytes"),
    "bits_per_pixel": ("bits per pixel", ""),
    "wall_time_s": ("time in all", "s"),
    "fit_time_s": ("fitting time", "s"),
    "render_time_s": ("rendering time", "s"),
    "peak_memory_gib": ("peak memory", "GiB"),
    "peak_gpu_memory_gib": ("peak GPU memory", "GiB"),
}


def label(metric: str) -> tuple[str, str]:
    """A number's name for people, and its unit, which may be empty."""
    return _LABELS.get(metric, (metric, ""))


def title(metric: str) -> str:
    """Name and unit, such as `PSNR (dB)`."""
    name, unit = label(metric)
    return f"{name} ({unit})" if unit else name


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
        found: dict[tuple[str, ...], list[Result]] = {}
        for result in self.finished:
            found.setdefault(self.setting(result), []).append(result)
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
        if factor.startswith("experiment"):
            return frozenset()  # a recipe may set anything
        covered = f"{config_path(factor)}."
        settings = result.settings.items()
        return frozenset(item for item in settings if not f"{item[0]}.".startswith(covered))
