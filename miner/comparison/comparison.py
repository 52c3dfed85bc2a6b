"""What the reports' numbers are called."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from miner.comparison.runs import Result, image_names

COSTS = ("n_parameters", "fit_time_s", "bits_per_pixel")
"""What quality is plotted against, and compared at equal amounts of."""

MAIN = ("psnr_db", "ssim", *COSTS, "wall_time_s", "peak_memory_gib", "objective")
"""The numbers that a page shows; the tab-separated table holds all."""

_NAMES = {
    "psnr_db": ("PSNR", "dB"),
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


def name(metric: str) -> str:
    """What people call a number of the report."""
    return _NAMES.get(metric, (metric, ""))[0]


def unit(metric: str) -> str:
    """The unit of a number, empty where it has none or it is unknown."""
    return _NAMES.get(metric, (metric, ""))[1]


def title(metric: str) -> str:
    """Name and unit, such as `PSNR (dB)`."""
    return f"{name(metric)} ({unit(metric)})" if unit(metric) else name(metric)


UNKNOWN = "?"
"""Stands for a setting that a run neither was given nor recorded."""

_NOT_FACTORS = ("image.path", "image.max_pixels", "seed", "logger", "hydra", "objective")


@dataclass(frozen=True)
class Comparison:
    """Runs side by side. A factor is an override whose value differs between them.

    Image and seed are no factors: runs are paired within them.
    """

    results: Sequence[Result]

    @cached_property
    def factors(self) -> list[str]:
        """Keys of the overrides that differ, in the order in which they were first given."""
        keys = dict.fromkeys(key for result in self.results for key in result.overrides)
        own = [key for key in keys if _is_setting(key)]
        return [key for key in own if len({_value(r, key) for r in self.results}) > 1]

    def value(self, result: Result, factor: str) -> str:
        """What a run has for a factor: as it was typed, or else what its defaults say.

        Numbers have one spelling: `1e-3` is 0.001.
        """
        return self._values[id(result)][factor]

    def values(self, factor: str) -> list[str]:
        """The factor's known values, numbers ascending, else in order of appearance."""
        return self._ordered[factor]

    @cached_property
    def finished(self) -> list[Result]:
        """The runs that have numbers."""
        return [result for result in self.results if result.status == "finished"]

    @cached_property
    def metrics(self) -> list[str]:
        """Names of the reports' numbers, in the order of the reports."""
        return list(dict.fromkeys(name for result in self.finished for name in result.numbers))

    @cached_property
    def images(self) -> list[str]:
        """The images' names, in order of appearance."""
        return list(dict.fromkeys(self._images.values()))

    def image(self, result: Result) -> str:
        """The name of a run's image, which no image of other content shares."""
        return self._images[id(result)]

    def setting(self, result: Result, *without: str) -> tuple[str, ...]:
        """The run's values of all factors but `without`, in the order of `factors`."""
        return tuple(self.value(result, name) for name in self.factors if name not in without)

    def others(self, result: Result, *without: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What must be equal in runs that are compared for the factors `without`.

        The values of the other factors, and whatever else was configured otherwise anywhere.
        """
        return self.setting(result, *without), self._rest(result, without)

    @cached_property
    def _images(self) -> dict[int, str]:
        names = image_names(self.results)
        return {id(result): name for result, name in zip(self.results, names, strict=True)}

    @cached_property
    def _values(self) -> dict[int, dict[str, str]]:
        return {
            id(result): {factor: _value(result, factor) for factor in self.factors}
            for result in self.results
        }

    @cached_property
    def _ordered(self) -> dict[str, list[str]]:
        ordered = {}
        for factor in self.factors:
            found = dict.fromkeys(self.value(result, factor) for result in self.results)
            found.pop(UNKNOWN, None)
            numeric = all(map(is_number, found))
            ordered[factor] = sorted(found, key=float) if numeric else list(found)
        return ordered

    @cached_property
    def _flat(self) -> dict[int, dict[str, str]]:
        return {id(result): dict(_flatten(result.config)) for result in self.finished}

    @cached_property
    def _varying(self) -> list[str]:
        """Configured names that not all finished runs have the same value for."""
        names = dict.fromkeys(name for flat in self._flat.values() for name in flat)
        return [
            name
            for name in names
            if _is_setting(name) and len({flat.get(name) for flat in self._flat.values()}) > 1
        ]

    def _rest(self, result: Result, without: Sequence[str]) -> tuple[str, ...]:
        if any(name.startswith("experiment") for name in without):
            return ()  # a recipe may set anything
        own = self._flat[id(result)]
        covered = [_path(name) for name in without]
        return tuple(
            own.get(name, UNKNOWN)
            for name in self._varying
            if not any(name == part or name.startswith(f"{part}.") for part in covered)
        )


def as_text(value: Any) -> str:
    """A value as people type it."""
    if value is None or isinstance(value, bool):
        return str(value).lower() if value is not None else "null"
    if isinstance(value, list):
        return "[" + ",".join(map(as_text, value)) + "]"
    return str(value)


def is_number(text: str) -> bool:
    """Whether a value can be ordered as a number."""
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def _value(result: Result, factor: str) -> str:
    found: Any = result.overrides.get(factor, result.choices.get(factor))
    if found is None and factor == "experiment" and result.choices:
        return "none"  # the one group without an option by default
    if found is None:
        found = result.config
        for part in factor.split("."):
            found = found.get(part, UNKNOWN) if isinstance(found, Mapping) else UNKNOWN
        if isinstance(found, Mapping):
            return UNKNOWN
    return _one_spelling(as_text(found))


def _one_spelling(text: str) -> str:
    if text.lower() in ("true", "false", "null"):
        return text.lower()
    if text.startswith("["):
        return text.replace(" ", "")
    return f"{float(text):.12g}" if is_number(text) and "_" not in text else text


def _path(factor: str) -> str:
    """Where an override's settings lie in the configuration."""
    return factor.partition("@")[0].replace("/", ".")


def _is_setting(name: str) -> bool:
    path = _path(name).lstrip("~")
    return path != "image" and not any(path == n or path.startswith(f"{n}.") for n in _NOT_FACTORS)


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", as_text(value)
