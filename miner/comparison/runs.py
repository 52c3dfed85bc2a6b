"""Read the runs below some folders: finished, failed, interrupted or not started."""

import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from miner.support.run_files import REPORT, read_plan, read_report

Status = Literal["finished", "failed", "unfinished", "not started"]

THUMBNAIL_SIDE = 320  # most pixels along a side
CURVE = ("level", "step", "seconds", "parameters", "psnr_db")  # columns
_NOT_SETTINGS = ("image.path.", "image.max_pixels.", "seed.", "logger.", "hydra.", "objective.")


@dataclass(frozen=True)
class Result:
    """One run.

    `overrides` are as typed, without `+`; `choices` are the options of the config groups, `config`
    the composed settings. `name` is the folder below the one that all runs share.
    """

    folder: Path
    status: Status
    reason: str = ""
    overrides: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    image: str = ""  # unique to the image's content

    @property
    def seed(self) -> str:
        """The seed as text, empty where it is unknown."""
        requested = self.overrides.get("seed", self.config.get("seed", ""))
        return str(self.report.get("seed", requested))

    @property
    def digest(self) -> str:
        """The image's SHA-256, empty where a run failed before it opened the image."""
        return str(self.report.get("image_sha256") or "")

    @cached_property
    def settings(self) -> dict[str, str]:
        """What was configured of a fit, by its dotted path, spelled as by `spelling`."""
        return {name: value for name, value in _flatten(self.config) if is_setting(name)}

    @cached_property
    def numbers(self) -> dict[str, float]:
        """A finished run's finite numbers, without the seed and the report's version."""
        if self.status != "finished":
            return {}
        return {
            name: value
            for name, value in self.report.items()
            if type(value) in (int, float)
            and abs(value) <= sys.float_info.max  # False for NaN
            and name not in ("seed", "report_version")
        }

    @property
    def curve(self) -> list[tuple[float | None, ...]]:
        """Points of numbers in the order of `CURVE`."""
        stored = _mapping(self.report.get("curve"))
        return list(zip(*(stored.get(name, ()) for name in CURVE), strict=False))


class NoRunsError(ValueError):
    """A folder, which the message names, holds no run."""


def read_results(folders: Sequence[Path]) -> list[Result]:
    """Read every run in or below the folders, in order of their names.

    Raises:
        NoRunsError: a folder is missing, or there is no run in it.
    """
    found: list[Result] = []
    for folder in folders:
        if not folder.is_dir():
            raise NoRunsError(f"{folder}: is no folder; name the folder of a sweep, or of a run")
        runs = sorted(_runs_below(folder), key=_natural)
        with ThreadPoolExecutor() as pool:
            results = list(pool.map(_read, runs))
        results += _not_started(folder, {run.name for run in runs})
        if not results:
            raise NoRunsError(f"{folder}: holds no run; a run's folder has a report.json")
        found += results
    return _with_names({result.folder.resolve(): result for result in found})


def spelling(value: Any) -> str:
    """A value as people type it, with one spelling for each: `1e-3` is 0.001."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if text.lower() in ("true", "false", "null"):
        return text.lower()
    if text.startswith("["):
        return text.replace(" ", "").replace('"', "")
    return f"{float(text):.12g}" if is_number(text) and "_" not in text else text


def config_path(key: str) -> str:
    """Where an override's settings are in the configuration."""
    return key.partition("@")[0].replace("/", ".").lstrip("~")


def is_setting(key: str) -> bool:
    """Whether an override or a path is one of the fit's settings; image and seed are not."""
    path = config_path(key)
    return path != "image" and not f"{path}.".startswith(_NOT_SETTINGS)


def is_number(text: str) -> bool:
    """Whether a value can be ordered as a number."""
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def _runs_below(folder: Path) -> Iterator[Path]:
    if (folder / REPORT).exists() or (folder / ".hydra").exists():
        yield folder
        return
    for child in folder.iterdir():
        if child.is_dir() and not child.is_symlink():
            yield from _runs_below(child)


def _natural(folder: Path) -> tuple[str, int, str]:
    number = folder.name.partition("-")[0]
    return str(folder.parent), int(number) if number.isdigit() else 2**31, folder.name


def _read(folder: Path) -> Result:
    """A run by its report, or else by what Hydra stored when it began."""
    status: Status = "unfinished"
    reason, report = "no report was left", None
    try:
        report = read_report(folder)
    except ValueError as error:
        status, reason = "failed", str(error)
    if report is None:
        hydra = _mapping(_mapping(_yaml(folder / ".hydra" / "hydra.yaml")).get("hydra"))
        overrides = _yaml(folder / ".hydra" / "overrides.yaml")
        choices = _mapping(_mapping(hydra.get("runtime")).get("choices"))
        config = _yaml(folder / ".hydra" / "config.yaml")
    else:
        status = "failed" if report.get("status") == "failed" else "finished"
        reason = str(report.get("reason") or "")
        overrides = report.get("overrides")
        settings = _mapping(report.get("settings"))
        choices, config = _mapping(settings.get("choices")), settings.get("config")
    return Result(
        folder=folder,
        status=status,
        reason=reason,
        overrides=_as_mapping(overrides if isinstance(overrides, list) else []),
        choices={k: str(v) for k, v in choices.items() if "/" not in k and v is not None},
        config=_mapping(config),
        report=report or {},
    )


def _not_started(folder: Path, present: set[str]) -> list[Result]:
    try:
        jobs = read_plan(folder).jobs
    except (OSError, ValueError, KeyError, TypeError):
        return []  # the runs that exist are read all the same
    return [
        Result(folder / job.folder_name, "not started", overrides=_as_mapping(job.overrides))
        for job in jobs
        if not any(name.endswith(f"-{job.hash}") for name in present)
    ]


def _as_mapping(overrides: Sequence[str]) -> dict[str, str]:
    pairs = (str(override).partition("=") for override in overrides)
    return {key.lstrip("+"): value.strip("'\"") for key, _, value in pairs}


def _with_names(results: Mapping[Path, Result]) -> list[Result]:
    """Name the runs by their resolved folders, and images of equal name by their digest too."""
    shared = Path(os.path.commonpath([folder.parent for folder in results]))
    digests: dict[str, set[str]] = defaultdict(set)
    for result in results.values():
        digests[_image(result)].add(result.digest)
    named = []
    for folder, result in results.items():
        image = _image(result)
        if result.digest and len(digests[image] - {""}) > 1:
            image = f"{image} ({result.digest[:8]})"
        named.append(replace(result, name=str(folder.relative_to(shared)), image=image))
    return named


def _image(result: Result) -> str:
    """The image's name; the requested one where it was never opened."""
    requested = result.overrides.get("image.path") or result.overrides.get("image")
    name = Path(requested or result.choices.get("image", "")).stem
    return str(result.report.get("image") or name)


def _yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)  # ten times OmegaConf's speed
    except (OSError, yaml.YAMLError, ValueError):
        return None


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", spelling(value)


def _mapping(value: Any) -> dict[str, Any]:
    return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}
