"""Rows of measurements in `results/*.tsv`, each with its date, commit, hardware and command."""

import csv
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
Value = str | int | float | None


def provenance(command: str) -> dict[str, Value]:
    """Where and how a row was measured."""
    return {
        "date": date.today().isoformat(),
        "commit": _commit(),
        "hardware": f"{len(os.sched_getaffinity(0))} cores of {processor()}",
        "command": command,
    }


def append_row(path: Path, row: Mapping[str, Value]) -> None:
    """Add a row; the first one of a file also writes its header.

    Raises:
        ValueError: the file has other columns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    header = read_header(path) if path.exists() else None
    if header not in (None, list(row)):
        raise ValueError(f"{path}: has columns {header}, the new row has {list(row)}")
    with path.open("a", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        if header is None:
            writer.writerow(row)
        writer.writerow(f"{v:.5g}" if isinstance(v, float) else v for v in row.values())


def read_header(path: Path) -> list[str]:
    """The columns of a file."""
    with path.open(newline="") as file:
        return next(csv.reader(file, delimiter="\t"))


def read_rows(path: Path) -> list[dict[str, str]]:
    """All rows of a file, as text."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def processor() -> str:
    """The name of this machine's processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    try:
        changes = git("status", "--porcelain", "--", "miner", "conf")
        return git("rev-parse", "--short", "HEAD") + ("+changes" if changes else "")
    except FileNotFoundError:  # git is not installed
        return ""
