"""Time fits of more and more pixels; rows in results/scaling.tsv.

python scripts/bench_scaling.py IMAGES                  0.26 to 22 megapixels

Squares from the middle of SeaSunset.jpg (5760x3840, in the folder IMAGES), and all of it, are
fitted with `experiment=fast` and a bound that no block reaches, so that every block takes every
step: seconds per active block then tell whether time is linear in pixels.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
from rows import ROOT, append_row, provenance

from miner.images import open_image

SIDES = (512, 1024, 2048, 3840, None)
OVERRIDES = ("experiment=fast", "fitting.max_mse=1e-12", "logger=none")


def main() -> None:
    """Fit each square `--repeats` times, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder with SeaSunset.jpg")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "scaling.tsv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pixels = open_image(str(arguments.images / "SeaSunset.jpg"), 2**33).pixels
        whole = (255 * pixels.transpose(1, 2, 0)[..., ::-1]).round().astype("uint8")
        for side in SIDES:
            rows, columns = ((n - (side or n)) // 2 for n in whole.shape[:2])
            crop = whole[rows : rows + side, columns : columns + side] if side else whole
            cv2.imwrite(str(folder / f"{side}.png"), crop)
        for _ in range(arguments.repeats):
            for side in SIDES:
                measure(folder / f"{side}.png", folder / "run", arguments.results)


def measure(image: Path, run: Path, results: Path) -> None:
    """Fit in a process of its own and write the row."""
    origin = provenance(" ".join(["python -m miner.run", *OVERRIDES, f"image.path={image.name}"]))
    places = [f"image.path={image}", f"hydra.run.dir={run}/{image.stem}"]
    subprocess.run([sys.executable, "-m", "miner.run", *OVERRIDES, *places], check=True)
    report = json.loads((run / image.stem / "report.json").read_text())
    shutil.rmtree(run / image.stem)
    n_pixels = report["width_px"] * report["height_px"]
    n_active = sum(level["n_active"] for level in report["levels"])
    row = {
        "megapixels": n_pixels / 1e6,
        "n_active": n_active,
        "fit_time_s": report["fit_time_s"],
        "microseconds_per_block": 1e6 * report["fit_time_s"] / n_active,
        "wall_time_s": report["wall_time_s"],
        "peak_memory_gib": report["peak_memory_gib"],
    }
    append_row(results, row | origin)


if __name__ == "__main__":
    main()
