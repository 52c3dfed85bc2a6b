"""What bench.py measures besides fits: seconds of answering and of comparing runs."""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rows import provenance

Row = dict[str, Any]
Options = argparse.Namespace


def startup(options: Options) -> Iterator[Row]:
    """Seconds until a command prints its help, or refuses a setting."""
    for name, arguments in COMMANDS.items():
        command = ["-m", "miner.run", *arguments.split()]
        seconds = []
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as folder:
                seconds.append(python_seconds(command, cwd=folder, capture_output=True))
        row: Row = {"what": name, "median_s": statistics.median(seconds), "worst_s": max(seconds)}
        row |= {"repeats": options.repeats}
        yield row | provenance(f"python -m miner.run {arguments}")


COMMANDS = {
    "help": "--help",
    "composed configuration": "--cfg job",
    "unknown option": "pyramid=wavelet",
    "value out of range": "patch_size=0",
    "missing image": "image.path=missing.jpg",
    "refused optimizer": "optimizer._target_=torch.optim.LBFGS",
}


def comparison(options: Options) -> Iterator[Row]:
    """Seconds of `python -m miner.compare`, and the size of its page."""
    n_runs = sum(1 for _ in options.images.rglob("report.json"))
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as out:
            command = ["-m", "miner.compare", str(options.images), "--out", out]
            seconds = python_seconds(command, check=True)
            page_mb = (Path(out) / "comparison.html").stat().st_size / 1e6
        row: Row = {"n_runs": n_runs, "seconds": seconds, "page_mb": page_mb}
        yield row | provenance("python -m miner.compare FOLDER")


def python_seconds(command: list[str], **options: Any) -> float:
    """How long a Python command runs; options are those of `subprocess.run`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], **options)
    return time.perf_counter() - began
