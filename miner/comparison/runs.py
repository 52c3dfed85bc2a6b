"""The runs below some folders as they left them: finished, failed, cut short or not begun."""

import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from miner.support.run_files import PLAN, REPORT, read_plan, read_report

Status = Literal["finished", "failed", "unfinished", "not started"]


THUMBNAILS = ("reconstruction", "blocks", "error")


THUMBNAIL_SIDE = 320
"""Most pixels along a side of a thumbnail."""

CURVE = ("level", "step", "seconds", "parameters", "psnr_db")


@dataclass(frozen=True)
class Result:
    """One run.

    `overrides` are as typed, without `+`. `choices` gives each group's option and `config` the
    composed settings; both are empty where a run of an older version did not store them.
    """

    folder: Path
    status: Status
    reason: str = ""
    overrides: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def image(self) -> str:
        """The image's name; what was asked for where it was never opened."""
        asked = self.overrides.get("image.path") or self.overrides.get("image")
        return str(self.report.get("image") or Path(asked or self.choices.get("image", "")).stem)

    @property
    def seed(self) -> str:
        """The seed as text, empty where it is unknown."""
        asked = self.overrides.get("seed", self.config.get("seed", ""))
        return str(self.report.get("seed", asked))

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The report's finite numbers, without the seed and the report's version."""
        found = self.report.items()
        others = ("seed", "report_version")
        return {name: value for name, value in found if _is_finite(value) and name not in others}

    @cached_property
    def curve(self) -> dict[str, list[float | None]]:
        """Arrays of one length: `level`, `step`, `seconds`, `parameters`, `psnr_db`. Or empty."""
        stored = self.report.get("curve")
        if not isinstance(stored, Mapping):
            return {}
        arrays = [array for array in map(stored.get, CURVE) if isinstance(array, list)]
        if len(arrays) < len(CURVE) or len({len(array) for array in arrays}) != 1:
            return {}
        return {
            name: [value if _is_finite(value) else None for value in array]
            for name, array in zip(CURVE, arrays, strict=True)
        }

    def thumbnail(self, name: str) -> Path | None:
        """The picture `name` (of THUMBNAILS), all of one size and showing the whole image."""
        path = self.folder / "thumbnails" / f"{name}.webp"
        return path if path.exists() else None


class NoRunsError(ValueError):
    """A folder holds no run. The message names it."""


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
    return list({result.folder.resolve(): result for result in found}.values())


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
        report = read_report(folder)
    except ValueError as error:
        return _without_report(folder, "failed", str(error))
    if report is None:
        return _without_report(folder, "unfinished", "no report was left")
    settings = report.get("settings")
    if not isinstance(settings, Mapping):
        settings = _stored_settings(folder)
    overrides = report.get("overrides")
    return Result(
        folder=folder,
        status="failed" if report.get("status") == "failed" else "finished",
        reason=str(report.get("reason") or ""),
        overrides=as_mapping(overrides if isinstance(overrides, list) else []),
        choices=_mapping(settings.get("choices")),
        config=_mapping(settings.get("config")),
        report=report,
    )


def _without_report(folder: Path, status: Status, reason: str) -> Result:
    settings = _stored_settings(folder)
    return Result(
        folder=folder,
        status=status,
        reason=reason,
        overrides=_stored_overrides(folder),
        choices=settings["choices"],
        config=settings["config"],
    )


def as_mapping(overrides: Sequence[str]) -> dict[str, str]:
    """Split overrides `key=value`; a leading `+` or `++` is no part of the key."""
    parts = (str(override).partition("=") for override in overrides)
    return {key.lstrip("+"): value.strip("'\"") for key, _, value in parts}


def _not_started(folder: Path, present: set[str]) -> list[Result]:
    if not (folder / PLAN).exists():
        return []
    try:
        jobs = read_plan(folder).jobs
    except (OSError, ValueError, KeyError, TypeError):
        return []  # what was run is there all the same
    missing = [job for job in jobs if not any(name.endswith(f"-{job.hash}") for name in present)]
    return [
        Result(folder / job.folder_name, "not started", "", as_mapping(job.overrides))
        for job in missing
    ]


def _stored_overrides(folder: Path) -> dict[str, str]:
    stored = _yaml(folder / ".hydra" / "overrides.yaml")
    return as_mapping(stored if isinstance(stored, list) else [])


def _stored_settings(folder: Path) -> dict[str, Any]:
    """What Hydra stored beside a run; reports of older versions do not hold it."""
    hydra = _mapping(_mapping(_yaml(folder / ".hydra" / "hydra.yaml")).get("hydra"))
    choices = _mapping(_mapping(hydra.get("runtime")).get("choices"))
    plain = {k: str(v) for k, v in choices.items() if "/" not in k and v is not None}
    return {"choices": plain, "config": _mapping(_yaml(folder / ".hydra" / "config.yaml"))}


def _yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)  # ten times OmegaConf's speed
    except (OSError, yaml.YAMLError, ValueError):
        return None


def _mapping(value: Any) -> dict[str, Any]:
    return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # false for NaN


_SHOWN = 8  # characters of a digest


def image_names(results: Sequence[Result]) -> list[str]:
    """Each run's image by name; images of one name and other content get names of their own.

    The content is known by its digest, so that crops of an image count as that image. Older runs
    stored none: theirs is that of the runs with this name and shape, if these agree.
    """
    digests: dict[tuple[str, str], set[str]] = defaultdict(set)
    for result in results:
        if _digest(result):
            digests[result.image, _shape(result)].add(_digest(result))
    contents = [_content(result, digests[result.image, _shape(result)]) for result in results]
    variants: dict[str, set[str]] = defaultdict(set)
    for result, content in zip(results, contents, strict=True):
        if content:  # a run that failed early says nothing about its image
            variants[result.image].add(content)
    return [
        f"{result.image} ({_label(content)})"
        if len(variants[result.image]) > 1 and content
        else result.image
        for result, content in zip(results, contents, strict=True)
    ]


def _content(result: Result, alike: Collection[str]) -> str:
    """A digest, else the image's shape; `alike` are the digests of runs that look the same."""
    if _digest(result):
        return _digest(result)
    return next(iter(alike)) if len(alike) == 1 else _shape(result)


def _shape(result: Result) -> str:
    sides = [result.report.get(side) for side in ("width_px", "height_px", "channels")]
    return "" if None in sides else "x".join(map(str, sides))


def _digest(result: Result) -> str:
    return str(result.report.get("image_sha256") or "")


def _label(content: str) -> str:
    return content if "x" in content else content[:_SHOWN]  # a shape, or hexadecimal digits
