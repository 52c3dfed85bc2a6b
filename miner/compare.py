"""`python -m miner.compare FOLDER...`: compare a set of runs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from miner.support.errors import exit_status


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare the runs in and below folders; give the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m miner.compare",
        description="Compare runs: writes comparison.html and comparison.tsv.",
    )
    kind: Any = {"type": Path, "metavar": "FOLDER"}
    parser.add_argument("folders", nargs="+", **kind, help="a sweep's folder, or a run's")
    where = "where to write (default: the folder itself, or here for several)"
    parser.add_argument("--out", **kind, help=where)
    options = parser.parse_args(arguments)
    # imported late, so that --help and refusals are immediate
    from miner.comparison.comparison import Comparison
    from miner.comparison.runs import read_results
    from miner.comparison.writing import summary_lines, write_comparison

    def compare() -> None:
        results = read_results(options.folders)
        single = options.folders[0] if len(options.folders) == 1 else Path()
        paths = write_comparison(results, options.out or single)
        print(*summary_lines(Comparison(results)), sep="\n")
        print("wrote", *paths)

    return exit_status(compare)


if __name__ == "__main__":
    sys.exit(main())
