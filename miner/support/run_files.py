"""The JSON files of runs and sweeps: report, plan of a sweep, and the list of what was made."""

import glob
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from typing import Any

from miner.support.errors import ConfigError
from miner.support.files import atomic_write, read_regular_file

REPORT = "report.json"
REPORT_VERSION = 2
PLAN = "sweep.json"
SWEEP = (PLAN, "multirun.yaml")  # Hydra writes the second
SCRATCH = ".miner-scratch"
LOGS = ("run.log", "machine*-process*.log")  # of a single run; those of jobs are Hydra's
_OWN, _ENDS = ".miner.json", 2**16
_MOST_BYTES = 2**26
_NUMBERS = re.compile(r"\[[-+.\deulns\s,]+\]")  # lists of numbers and null go on one line
_UNDEFINED = {
    "ssim": "it takes an image of at least 11 pixels a side",
    "seam_ratio": "it takes borders between patches, and an error inside them",
    "commit": "the code that ran is no Git checkout",
    "peak_gpu_memory_gib": "no GPU",
}


def own_files(folder: Path) -> dict[str, str]:
    """Names and patterns of what was made in a folder, with digests, or empty texts.

    Raises `ConfigError` if the list cannot be read.
    """
    try:
        content = json.loads(read_regular_file(folder / _OWN, 2**20))["made"]
        return {str(name): str(digest) for name, digest in content.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = "cannot be read as the list of what was made here; move it away"
        raise ConfigError(f"{folder / _OWN}: {reason}, or name another folder") from error


def is_of_run(path: Path) -> bool:
    """Whether a file, or a folder that it is in, is on the list of what was made beside it."""
    place = path.parent.resolve() / path.name
    named = ((place.relative_to(up).parts[0], up) for up in place.parents)
    return any(fnmatch(name, one) for name, up in named for one in own_files(up))


def check_own(folder: Path, names: Iterable[str], sources: Iterable[Path] = ()) -> None:
    """Refuse, by a `ConfigError`, what has one of these names or patterns and was not made here.

    A link to a file was never made here, nor was a file that has changed since, and what holds one
    of the `sources` is kept, whoever has made it.
    """
    own, kept = own_files(folder), [source.resolve() for source in sources if source.exists()]
    for name in _matching(names, folder):
        path = folder / name
        is_kept = any(one.is_relative_to(path.resolve()) or one.samefile(path) for one in kept)
        is_listed = any(fnmatch(name, one) for one in own)
        is_link = path.is_symlink() and not path.is_dir()
        if is_kept or is_link or not is_listed or own.get(name, "") not in ("", _digest(path)):
            reason = "is the image" if is_kept else "was not made by this run, or has changed since"
            remedy = "move it away, or name another folder"
            raise ConfigError(f"{path}: would be overwritten, and {reason}; {remedy}")


def claim(folder: Path, *names: str) -> None:
    """List files and folders before they are made in a folder; raises as `check_own` does."""
    check_own(folder, names)
    _list(folder, dict.fromkeys(names, ""))


def record_digests(folder: Path) -> None:
    """Add the digests by which `check_own` notices other content, but of logs, which grow."""
    found = _matching([one for one in own_files(folder) if one not in LOGS], folder)
    _list(folder, {name: _digest(folder / name) for name in found})


def _matching(patterns: Iterable[str], folder: Path) -> list[str]:
    return sorted({name for one in patterns for name in glob.glob(one, root_dir=folder)})  # noqa: PTH207


def _list(folder: Path, more: dict[str, str]) -> None:
    own = own_files(folder)
    if (made := own | more) != own:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / _OWN) as scratch:
            scratch.write_text(json.dumps({"made": dict(sorted(made.items()))}, indent=1) + "\n")


def _digest(path: Path) -> str:
    """Of a file's size, beginning and end; empty for a folder."""
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        beginning, size = stream.read(_ENDS), stream.seek(0, 2)
        stream.seek(max(0, size - _ENDS))
        return sha256(b"%d " % size + beginning + stream.read()).hexdigest()[:16]


def write_report(folder: Path, report: Mapping[str, Any]) -> Path:
    """Write the report atomically; infinite and undefined numbers become null with a note."""
    claim(folder, REPORT)
    notes: list[str] = []
    content: dict[str, Any] = {"report_version": REPORT_VERSION}
    for name, value in report.items():
        content[name] = value if name == "settings" else _finite(value, name, notes)
    if notes:
        content["notes"] = notes
    text = json.dumps(content, indent=1, allow_nan=False)
    with atomic_write(folder / REPORT) as scratch:
        scratch.write_text(_NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n")
    record_digests(folder)
    return folder / REPORT


def read_report(folder: Path) -> dict[str, Any] | None:
    """Read a folder's report, None without one; ValueError if it is none of this version."""
    path, remedy = folder / REPORT, "delete it and run again"
    try:
        content: dict[str, Any] = json.loads(read_regular_file(path, _MOST_BYTES))
        version = content.get("report_version", 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); {remedy}") from error
    if version != REPORT_VERSION:
        reason = f"must be {REPORT_VERSION}; another version of miner wrote it, so {remedy}"
        raise ValueError(f"{path}: report_version={version!s:.20}: {reason}")
    return content


def _finite(value: Any, name: str, notes: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item, f"{name}.{key}", notes) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item, f"{name}[{i}]", notes) for i, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        notes.append(f"{name} is {value}")
        return None
    if value is None:
        notes.append(f"{name} is undefined: {_UNDEFINED.get(name, 'not measured')}")
    return value


@dataclass(frozen=True)
class PlannedJob:
    """One job of a sweep: `hash` identifies it, `number` is its position in this grid.

    Its folder is `<number>-<hash>`, unless one of an earlier start has the same hash.
    """

    number: int
    hash: str
    overrides: Sequence[str]


def differing_keys(jobs: Sequence[PlannedJob]) -> dict[str, int]:
    """Keys of the overrides that are not the same in all jobs, with their numbers of values."""
    different = dict.fromkeys(override for job in jobs for override in job.overrides)
    counts = Counter(override.partition("=")[0] for override in different)
    return {key: n_values for key, n_values in counts.items() if n_values > 1}


@dataclass(frozen=True)
class SweepInfo:
    """The sweep that a job is part of, and the job's overrides that differ between its jobs."""

    name: str
    differing: Sequence[str]


def write_plan(folder: Path, jobs: Sequence[PlannedJob] | None) -> None:
    """Write a sweep's jobs to `sweep.json`, atomically; None, for a search, removes the file."""
    if jobs is None:
        (folder / PLAN).unlink(missing_ok=True)
        return
    with atomic_write(folder / PLAN) as scratch:
        scratch.write_text(json.dumps({"jobs": list(map(asdict, jobs))}, indent=1) + "\n")
    record_digests(folder)


def read_plan(folder: Path) -> list[PlannedJob]:
    """Read `sweep.json` as `write_plan` wrote it."""
    stored = json.loads((folder / PLAN).read_text())
    return [PlannedJob(**job) for job in stored["jobs"]]
