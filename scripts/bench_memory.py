"""Fit images and record the most memory and scratch space that each took, in results/memory.tsv.

python scripts/bench_memory.py IMAGE... --folder FOLDER [--override fitting.max_steps=10]

Every fit is a process of its own with its run folder below FOLDER, which needs room for it and is
left empty. `peak_memory_gib` is the kernel's figure for that process or the largest of those it
waited for, `reported_gib` the one in its report.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rows import ROOT, Value, append_row, provenance

DEFAULTS = ("experiment=fast", "logger=csv")
REPORTED = (
    "psnr_db", "ssim", "n_parameters", "parameters_per_pixel", "fit_time_s", "wall_time_s",
)  # fmt: skip
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
_BLOCK = 512  # of st_blocks, in bytes


class ScratchWatch:
    """Looks how much disk space a folder takes while something else runs."""

    def __init__(self, folder: Path, interval_s: float = 1.0) -> None:
        self.largest = 0
        self._folder, self._interval_s = folder, interval_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "ScratchWatch":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(self._interval_s):
            self.largest = max(self.largest, disk_bytes(self._folder))


def main() -> None:
    """Fit each image and write its row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    parser.add_argument("--folder", type=Path, required=True, help="where the runs' folders go")
    parser.add_argument("--override", action="append", default=[], help="after the defaults")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "memory.tsv")
    arguments = parser.parse_args()
    for image in arguments.images:
        overrides = [*DEFAULTS, *arguments.override]
        row = measure(image.resolve(), overrides, arguments.folder)
        append_row(arguments.results, row)
        print(*(f"{name}={value}" for name, value in row.items()), sep="  ")


def measure(image: Path, overrides: Sequence[str], folder: Path) -> dict[str, Value]:
    """Fit in a process of its own and give the row."""
    origin = provenance(" ".join(["python -m miner.run", *overrides, f"image.path={image.name}"]))
    run = folder / f"{image.stem}-{os.getpid()}"
    places = [f"image.path={image}", f"hydra.run.dir={run}"]
    command = [sys.executable, "-m", "miner.run", *overrides, *places]
    try:
        with ScratchWatch(run / ".miner-scratch") as watch:
            seconds, peak = run_and_measure(command)
        report = json.loads((run / "report.json").read_text())
    finally:
        shutil.rmtree(run, ignore_errors=True)
    settings = " ".join(overrides)
    return row_of(image.name, settings, report, peak, watch.largest, seconds) | origin


def run_and_measure(command: Sequence[str]) -> tuple[float, int]:
    """Run a command; gives its seconds and the most bytes that it held in memory."""
    began = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"the fit ended with {process.returncode}: {' '.join(command)}")
    return time.perf_counter() - began, usage.ru_maxrss * _RSS_UNIT


def row_of(
    image: str,
    settings: str,
    report: Mapping[str, Any],
    peak_bytes: int,
    scratch_bytes: int,
    process_time_s: float,
) -> dict[str, Value]:
    """What the report and the measurements say of a run."""
    row: dict[str, Value] = {
        "image": image,
        "megapixels": report["width_px"] * report["height_px"] / 1e6,
        "settings": settings,
        "peak_memory_gib": peak_bytes / 2**30,
        "reported_gib": report["peak_memory_gib"],
        "limit_gib": 1 + report["settings"]["config"]["fitting"]["max_memory_gib"],
        "scratch_gib": scratch_bytes / 2**30,
    }
    return row | {name: report[name] for name in REPORTED} | {"process_time_s": process_time_s}


def disk_bytes(folder: Path) -> int:
    """Space that a folder's files take on the disk; files may come and go meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(parent) / name).stat().st_blocks * _BLOCK
    return total


if __name__ == "__main__":
    main()
