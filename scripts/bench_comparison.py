"""Time `python -m miner.compare` on many runs; a row for each repeat in results/comparison.tsv.

python scripts/bench_comparison.py [--runs 500] [--repeats 3]

One real sweep of two pyramids is fitted, and its runs are copied under other seeds and widths.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from recipes import multirun
from rows import ROOT, append_row, provenance

SWEEP = (
    "image=astronaut,hubble,retina,coffee,chelsea",
    "pyramid=gaussian,laplacian",
    "image.crop_px=256",
    "experiment=fast",
    "logger=none",
)
WIDTHS = (8, 11, 14, 18, 22)


def main() -> None:
    """Fit, copy, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    origin = provenance("python -m miner.compare FOLDER")
    with tempfile.TemporaryDirectory() as scratch:
        fitted, folder = Path(scratch) / "fitted", Path(scratch) / "runs"
        multirun(SWEEP, fitted)
        copy(sorted(fitted.glob("*-*")), folder, arguments.runs)
        for _ in range(arguments.repeats):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "miner.compare", str(folder)], check=True)
            seconds = time.perf_counter() - began
            page_mb = (folder / "comparison.html").stat().st_size / 1e6
            row = {"n_runs": arguments.runs, "seconds": seconds, "page_mb": page_mb}
            append_row(ROOT / "results" / "comparison.tsv", row | origin)


def copy(originals: Sequence[Path], folder: Path, n_runs: int) -> None:
    """Copy runs until there are so many, each with another seed and width."""
    for index in range(n_runs):
        source = originals[index % len(originals)]
        seed, width = divmod(index // len(originals), len(WIDTHS))
        target = folder / f"{index}-{source.name.partition('-')[2]}"
        shutil.copytree(source, target)
        report = json.loads((source / "report.json").read_text())
        overrides = [each for each in report["overrides"] if not each.startswith("seed=")]
        report["overrides"] = [*overrides, f"seed={seed}", f"model.width={WIDTHS[width]}"]
        report["settings"]["config"]["model"]["width"] = WIDTHS[width]
        report |= {"seed": seed, "n_parameters": report["n_parameters"] * WIDTHS[width] // 10}
        (target / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
