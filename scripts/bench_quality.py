"""Fit images with several recipes in turn and write a row for each fit to `results/quality.tsv`.

python scripts/bench_quality.py IMAGES                  every job below, once
python scripts/bench_quality.py IMAGES --job pluto --repeats 5

IMAGES is a folder with pluto.jpg, kodim05.png, kodim15.png, kodim20.png, kodim23.png, Road.jpg and
tulips_alpha.png. Recipes of a job run
in turn, so that their ratio survives a machine whose speed drifts. Every PSNR is measured again
here, in a process that did not fit, on what the run stored.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
from rows import ROOT, Value, append_row, provenance

import miner
from miner.images import open_image
from miner.metrics.squared_error import psnr_db

REPORTED = (
    "psnr_db", "ssim", "seam_ratio", "n_parameters", "parameters_per_pixel", "bits_per_pixel",
    "fit_time_s", "render_time_s", "wall_time_s", "peak_memory_gib", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """Images that are fitted with each set of overrides in turn."""

    images: Sequence[str]
    recipes: Sequence[Sequence[str]]


REFERENCE = ("experiment=miner_pl_pluto", "backend=eager")
FAST, BALANCED, QUALITY = ((f"experiment={name}",) for name in ("fast", "balanced", "quality"))
KODAK = ("kodim05.png", "kodim15.png", "kodim20.png", "kodim23.png")
ALL_KODAK = [f"kodim{number:02}.png" for number in range(1, 25)]
STORAGES = [(f"storage={name}",) for name in ("float32", "float16", "int8")]
JOBS = {
    "pluto": Job(["pluto_1024.png"], [REFERENCE, BALANCED, FAST]),
    "smallest": Job(["pluto_1024.png"], [("experiment=smallest",)]),
    "kodak": Job(KODAK, [("experiment=budget",)]),
    "kodak24": Job(ALL_KODAK, [("experiment=budget",)]),
    "recipes": Job([*KODAK, "tulips_alpha.png"], [FAST, BALANCED, QUALITY]),
    "large": Job(["Road.jpg"], [FAST, BALANCED]),
    "storage": Job(["pluto_1024.png", "kodim23.png"], STORAGES),
    # MINER_pl's own code reads every image as RGB: this is what its figures are measured on.
    "pluto_rgb": Job(["pluto_1024_rgb.png"], [REFERENCE]),
}


def main() -> None:
    """Run the jobs that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder with the images")
    parser.add_argument("--job", choices=sorted(JOBS), action="append", help="default: all")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "quality.tsv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        reduce_pluto(arguments.images / "pluto.jpg", Path(scratch) / "pluto_1024.png")
        for name in arguments.job or JOBS:
            job = JOBS[name]
            for repeat in range(arguments.repeats):
                for image in job.images:
                    folder = Path(scratch) if image.startswith("pluto") else arguments.images
                    for recipe in job.recipes:
                        overrides = [*recipe, f"seed={repeat}"]
                        row = measure(name, folder / image, overrides)
                        append_row(arguments.results, row)


def reduce_pluto(source: Path, target: Path) -> None:
    """Write pluto.jpg reduced by area to 4096x4096 and then to 1024x1024, as grey and as RGB."""
    pixels = cv2.imread(str(source), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise SystemExit(f"{source}: not found; give the folder that holds the test images")
    for side in (4096, 1024):
        pixels = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(target), pixels)
    cv2.imwrite(str(target.with_stem(target.stem + "_rgb")), cv2.merge([pixels] * 3))


def measure(job: str, image: Path, overrides: Sequence[str]) -> dict[str, Value]:
    """Fit in a process of its own, check its score here, and give the row."""
    shown = " ".join(["python -m miner.run", *overrides, f"image.path={image.name}", "logger=none"])
    origin = provenance(shown)  # of the code that the fit begins with
    with tempfile.TemporaryDirectory() as folder:
        common = [f"image.path={image}", "logger=none", f"hydra.run.dir={folder}/run"]
        subprocess.run([sys.executable, "-m", "miner.run", *overrides, *common], check=True)
        report = json.loads((Path(folder) / "run" / "report.json").read_text())
        source = torch.from_numpy(open_image(str(image), 2**33).pixels)
        rendered = torch.from_numpy(miner.load(Path(folder) / "run").render())
        measured = psnr_db(source, rendered)
    if abs(measured - report["psnr_db"]) > 1e-6:
        raise SystemExit(f"{image.name}: reported {report['psnr_db']} dB, measured {measured} dB")
    row: dict[str, Value] = {"job": job, "image": image.name, "recipe": " ".join(overrides[:-1])}
    return row | {name: report[name] for name in REPORTED} | origin


if __name__ == "__main__":
    main()
