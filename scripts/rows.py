"""Rows of measurements in `results/*.tsv`, each with its date, commit, hardware and command."""

import csv
import os
import platform
import shutil
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
        "hardware": f"{len(os.sched_getaffinity(0))} cores of {_processor()}",
        "command": command,
    }


def append_row(path: Path, row: Mapping[str, Value]) -> None:
    """Add a row; the first one of a file also writes its header.

    Raises:
        ValueError: the file has other columns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    if not is_new:
        with path.open(newline="") as file:
            header = next(csv.reader(file, delimiter="\t"))
        if header != list(row):
            raise ValueError(f"{path}: has columns {header}, the new row has {list(row)}")
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), delimiter="\t", lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow({name: _short(value) for name, value in row.items()})


def read_rows(path: Path) -> list[dict[str, str]]:
    """All rows of a file, as text."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _short(value: Value) -> Value:
    return f"{value:.5g}" if isinstance(value, float) else value


def _commit() -> str:
    git = ["git", "-C", str(ROOT)]
    if shutil.which("git") is None:
        return ""
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", "miner", "conf"], capture_output=True, text=True
    )
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
