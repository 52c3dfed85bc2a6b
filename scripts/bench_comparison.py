"""Time `python -m miner.compare` on a sweep; a row for each repeat in results/comparison.tsv.

python scripts/bench_comparison.py FOLDER [--repeats 3]

FOLDER is that of a sweep of some hundred runs, such as outputs/ablations/pyramid of recipes.py.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rows import ROOT, append_row, provenance


def main() -> None:
    """Compare, again and again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    origin = provenance("python -m miner.compare FOLDER")
    n_runs = sum(1 for _ in arguments.folder.rglob("report.json"))
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "miner.compare", str(arguments.folder), "--out", out]
        for _ in range(arguments.repeats):
            began = time.perf_counter()
            subprocess.run(command, check=True)
            seconds = time.perf_counter() - began
            page_mb = (Path(out) / "comparison.html").stat().st_size / 1e6
            row = {"n_runs": n_runs, "seconds": seconds, "page_mb": page_mb}
            append_row(ROOT / "results" / "comparison.tsv", row | origin)


if __name__ == "__main__":
    main()
