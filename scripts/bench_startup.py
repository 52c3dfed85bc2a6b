"""Time what a person waits for before a fit begins: help, a refusal, and a whole tiny run.

python scripts/bench_startup.py [--repeats 5]           rows in results/startup.tsv
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rows import ROOT, Value, append_row, provenance

COMMANDS = {
    "help": ["--help"],
    "composed configuration": ["--cfg", "job"],
    "unknown option": ["pyramid=wavelet"],
    "value out of range": ["patch_size=0"],
    "missing image": ["image.path=missing.jpg"],
    "refused optimizer": ["optimizer._target_=torch.optim.LBFGS"],
}


def main() -> None:
    """Time each command and write its median."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "startup.tsv")
    arguments = parser.parse_args()
    for name, options in COMMANDS.items():
        seconds = [time_command(options) for _ in range(arguments.repeats)]
        row: dict[str, Value] = {
            "what": name,
            "median_s": statistics.median(seconds),
            "worst_s": max(seconds),
            "repeats": arguments.repeats,
        }
        append_row(arguments.results, row | provenance("python -m miner.run " + " ".join(options)))
        print(f"{name:24} {row['median_s']:.2f} s (worst {row['worst_s']:.2f} s)")


def time_command(options: list[str]) -> float:
    """Wall time of one command in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [sys.executable, "-m", "miner.run", *options]
        subprocess.run(command, cwd=folder, capture_output=True, check=False)
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
