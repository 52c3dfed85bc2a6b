"""Read the runs below some folders: finished, failed, interrupted or not started."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from miner.support.files import flatten
from miner.support.run_files import REPORT, read_plan, read_report

Status = Literal["finished", "failed", "unfinished", "not started"]

_STATUSES: Mapping[str, Status] = {"failed": "failed", "stopped": "unfinished"}
THUMBNAIL_SIDE = 320  # most pixels along a side
CURVE = ("level", "step", "seconds", "parameters", "psnr_db")  # columns
_NOT_SETTINGS = (  # what changes no result, or is shown in a column of its own
    *("image.path.", "image.max_pixels.", "seed.", "logger.", "hydra.", "objective."),
    *("fitting.in_memory_mib.", "fitting.scratch_dir.", "callbacks.", "paths."),
    *("metrics.", "extras.", "tags.", "task_name.", "trainer.default_root_dir."),
)


@dataclass(frozen=True)
class Result:
    """One run."""

    folder: Path
    status: Status
    reason: str = ""
    overrides: Mapping[str, str] = field(default_factory=dict)  # as typed, without `+`
    choices: Mapping[str, str] = field(default_factory=dict)  # options of the config groups
    config: Mapping[str, Any] = field(default_factory=dict)  # the composed settings
    report: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""  # the folder below the one that all runs share
    image: str = ""  # unique to the image's content

    @property
    def outcome(self) -> str:
        """The status; `diverged` for a finished run whose report says so."""
        has_diverged = self.status == "finished" and self.report.get("diverged") is True
        return "diverged" if has_diverged else self.status

    @property
    def seed(self) -> str:
        """The seed as text, empty where it is unknown."""
        requested = self.overrides.get("seed", self.config.get("seed", ""))
        return str(self.report.get("seed", requested))

    @cached_property
    def settings(self) -> dict[str, str]:
        """What was configured of a fit, by dotted path, in one spelling."""
        return {k: spelling(value) for k, value in flatten(self.config) if is_setting(k)}

    @cached_property
    def numbers(self) -> dict[str, float]:
        """A finished run's finite numbers, without the seed and the report's version."""
        known = self.report.items() if self.status == "finished" else ()
        return {k: v for k, v in known if _is_number(v) and k not in ("seed", "report_version")}

    @property
    def curve(self) -> list[tuple[float | None, ...]]:
        """Points of numbers in the order of `CURVE`."""
        found = map(mapping(self.report.get("curve")).get, CURVE)
        rows = zip(*(column if isinstance(column, list) else [] for column in found), strict=False)
        return [tuple(value if _is_number(value) else None for value in row) for row in rows]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # False for NaN


def read_results(folders: Sequence[Path]) -> list[Result]:
    """Read every run in or below the folders by name; `ValueError` for a folder without runs."""
    found: list[Result] = []
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder}: is no folder; name the folder of a sweep, or of a run")
        runs = sorted(_runs_below(folder), key=_natural)
        results = [*map(_read, runs), *_not_started(folder, {run.name for run in runs})]
        if not results:
            raise ValueError(f"{folder}: holds no run; a run's folder has a report.json")
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
    try:
        report, reason = read_report(folder), ""
    except ValueError as error:
        report, reason = None, str(error)
    if report is None:
        status: Status = "failed" if reason else "unfinished"
        reason = reason or "no report was left"
        hydra, overrides, config = (
            _yaml(folder / ".hydra" / f"{name}.yaml") for name in ("hydra", "overrides", "config")
        )
        choices = mapping(mapping(mapping(hydra).get("hydra")).get("runtime")).get("choices")
    else:
        status = _STATUSES.get(str(report.get("status")), "finished")
        settings, overrides = mapping(report.get("settings")), report.get("overrides")
        choices, config = settings.get("choices"), settings.get("config")
        reason = str(report.get("reason") or "")
    overrides = _as_mapping(overrides if isinstance(overrides, list) else [])
    options = mapping(choices).items()
    chosen = {k: str(v) for k, v in options if "/" not in k and v is not None}
    return Result(folder, status, reason, overrides, chosen, mapping(config), report or {})


def _not_started(folder: Path, present: set[str]) -> list[Result]:
    try:
        jobs = read_plan(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return []  # the runs that exist are read all the same
    return [
        Result(folder / f"{job.number}-{job.hash}", "not started", "", _as_mapping(job.overrides))
        for job in jobs
        if not any(name.endswith(f"-{job.hash}") for name in present)
    ]


def _as_mapping(overrides: Sequence[str]) -> dict[str, str]:
    pairs = (str(override).partition("=") for override in overrides)
    return {key.lstrip("+"): value.strip("'\"") for key, _, value in pairs}


def _with_names(results: Mapping[Path, Result]) -> list[Result]:
    """Name the runs by their resolved folders, and images of equal name by their digests too."""
    shared = Path(os.path.commonpath([folder.parent for folder in results]))
    named = []
    for folder, result in results.items():
        requested = result.overrides.get("image.path") or result.overrides.get("image")
        stem = Path(requested or result.choices.get("image", "")).stem
        image = str(result.report.get("image") or stem)
        named.append(replace(result, name=str(folder.relative_to(shared)), image=image))
    contents = {(run.image, *pair) for run in named for pair in _digests(run.report)}
    n_contents = Counter((image, label) for image, label, _ in contents)
    for index, run in enumerate(named):
        found = [pair for pair in _digests(run.report) if n_contents[run.image, pair[0]] > 1]
        if marks := [label + digest[:8] for label, digest in found if digest]:
            named[index] = replace(run, image=f"{run.image} ({', '.join(marks)})")
    return named


def _digests(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Of the image, and of its mask at a size, as crops have others; with words before each."""
    mask = f"{report.get('width_px')}x{report.get('height_px')} mask "
    found = {"": report.get("image_sha256"), mask: report.get("mask_sha256")}
    return [(label, str(digest)) for label, digest in found.items() if digest is not None]


def _yaml(path: Path) -> Any:
    with suppress(OSError, yaml.YAMLError, ValueError):
        return yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)  # ten times OmegaConf's speed


def mapping(value: Any) -> dict[str, Any]:
    """A mapping with texts as keys; empty if the value is none."""
    return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}
