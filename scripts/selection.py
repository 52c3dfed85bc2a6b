"""Adaptive and per-level selection at equal PSNR: rows of both, and their ratios.

python scripts/selection.py IMAGE... [--crop 1024] [--preset balanced] [--dry]

Both fit each image in turn, at three values of `fitting.max_mse`, into results/selection.tsv. The
table has per_level / adaptive: the mean over the PSNR that both curves reach, of their logarithms.
`--dry` prints the table alone; of each image it takes the rows of the commit that is last.
"""

import argparse
import itertools
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import mean

import numpy as np
from rows import ROOT, append_row, provenance, read_rows

import miner

RESULTS = ROOT / "results" / "selection.tsv"
POLICIES = ("per_level", "adaptive")
BOUNDS = (1.6e-4, 8e-5, 4e-5)
RATIOS = ("n_parameters", "fit_time_s")
Rows = Iterable[Mapping[str, str]]


def main() -> None:
    """Fit what the command line names, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="*")
    parser.add_argument("--crop", type=int)
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--dry", action="store_true")
    options = parser.parse_args()
    words = [Path(word).name for word in sys.argv[1:]]  # images without their folder
    origin = provenance(" ".join(["python scripts/selection.py", *words]))
    jobs = itertools.product(options.images, BOUNDS, POLICIES)
    for path, bound, policy in () if options.dry else jobs:
        settings = {"fitting.max_mse": bound, "image.crop_px": options.crop}
        chosen = {"preset": options.preset, "level_selection": policy, "progress": False}
        report = miner.fit(path, **chosen, **settings).report or {}
        name = path.stem + (f" {options.crop}" if options.crop else "")
        names = ("psnr_db", "ssim", "seam_ratio", *RATIOS)
        replaced = sum(level["n_replaced"] for level in report["levels"])
        row = {"image": name, "preset": options.preset, "policy": policy, "max_mse": bound}
        row |= {key: report[key] for key in names} | {"n_replaced": replaced}
        append_row(RESULTS, row | origin)
        print(*row.values(), flush=True)
    table(read_rows(RESULTS))


def table(rows: Rows) -> None:
    """Print, for each image, the ratios and the mean seam ratios of both."""
    rows = sorted(rows, key=lambda row: (row["image"], row["preset"]))
    print("| image | PSNR | parameters | fit time | seams, both |\n|---|---|---|---|---|")
    for key, group in itertools.groupby(rows, key=lambda row: (row["image"], row["preset"])):
        *_, last = found_rows = list(group)
        own = [row for row in found_rows if row["commit"] == last["commit"]]
        curves = [[row for row in own if row["policy"] == policy] for policy in POLICIES]
        low, high, *found = (f"{value:.3f}" for value in compared(*curves))
        seams = " ".join(f"{mean(float(row['seam_ratio']) for row in c):.3f}" for c in curves)
        print("|", " | ".join([" ".join(key), f"{low}-{high}", *found, seams]), "|")


def compared(first: Rows, second: Rows) -> list[float]:
    """The common range of PSNR, and the ratio of each of `RATIOS` in it; medians over repeats."""
    curves = []
    for rows in (first, second):
        points = [[float(row[name]) for name in ("max_mse", "psnr_db", *RATIOS)] for row in rows]
        bounds = {point[0] for point in points}
        repeats = ([point[1:] for point in points if point[0] == bound] for bound in bounds)
        found = sorted(np.median(np.array(repeat), axis=0).tolist() for repeat in repeats)
        curves.append(np.array(found).T)
    low, high = max(psnr[0] for psnr, *_ in curves), min(psnr[-1] for psnr, *_ in curves)
    at = np.linspace(low, high, 101)
    logs = [[np.interp(at, psnr, np.log(cost)).mean() for cost in costs] for psnr, *costs in curves]
    return [low, high, *(float(np.exp(one - other)) for one, other in zip(*logs, strict=True))]


if __name__ == "__main__":
    main()
