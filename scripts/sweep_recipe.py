"""Sweep each setting of the default recipe over five images; rows in results/recipe.tsv.

python scripts/sweep_recipe.py IMAGES                   every factor below
python scripts/sweep_recipe.py IMAGES --factor patch_size

One Hydra multirun a factor, all else as in the defaults, on 288x288 pixels from the middle of each
image (pluto.jpg is reduced to 1024x1024 first). IMAGES is the folder that holds them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
from rows import ROOT, append_row, provenance

from miner.images import open_image

IMAGES = ("pluto.jpg", "kodim05.png", "kodim20.png", "Road.jpg", "Acrylic.jpg")
SIDE = 288
FACTORS = {
    "experiment": "fast,balanced,quality,smallest,budget",
    "pyramid": "gaussian,laplacian",
    "pyramid.n_levels": "1,2,3,auto",
    "fitting.coarse_ratio": "1,10,100,1000",
    "patch_size": "16,24,32,48",
    "model.width": "6,10,14,20",
    "model.depth": "1,2,3",
    "capacity.probe_steps": "25,50,100",
    "capacity.max_refits": "0,1,2",
    "encoding": "none,positional,cosine",
    "encoding.n_frequencies": "6,7,8,10,12",
    "activation": "siren,sine,gaussian,finer,gabor,relu",
    "activation.omega": "3,5,7,10,15",
    "loss": "mse,log_mse",
    "optimizer": "adam,adamw,nadam,radam",
    "optimizer.lr": "0.005,0.01,0.02,0.03,0.04",
    "schedule": "constant,cosine",
    "schedule.final_ratio": "0.02,0.1,0.3",
    "fitting.max_steps": "50,100,200,300,600,1000",
    "fitting.max_mse": "3.2e-4,1.6e-4,8e-5,4e-5,2e-5",
    "pruning.every_n_steps": "5,10,20,50",
    "fitting.blocks_per_shard": "64,2048",
    "readout.ridge": "1e-8,1e-7,1e-6,1e-5,1e-4",
    "storage": "float32,float16,int8",
}


def main() -> None:
    """Run the factors that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder with the images")
    parser.add_argument("--factor", choices=sorted(FACTORS), action="append", help="default: all")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "recipe.tsv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in IMAGES:
            write_middle(arguments.images / name, Path(folder) / f"{Path(name).stem}.png")
        for factor in arguments.factor or FACTORS:
            sweep(factor, FACTORS[factor], Path(folder), arguments.results)


def write_middle(image: Path, path: Path) -> None:
    """Write the middle of an image."""
    pixels = open_image(str(image), 2**33).pixels.transpose(1, 2, 0)
    if image.name == "pluto.jpg":
        pixels = cv2.resize(pixels, (1024, 1024), interpolation=cv2.INTER_AREA).astype("float32")
    first = [max(0, (side - SIDE) // 2) for side in pixels.shape[:2]]
    middle = pixels[first[0] : first[0] + SIDE, first[1] : first[1] + SIDE]
    if middle.ndim == 3:
        middle = middle[..., ::-1]  # OpenCV writes blue first
    cv2.imwrite(str(path), (255 * middle).round().astype("uint8"))


def sweep(factor: str, values: str, folder: Path, results: Path) -> None:
    """One multirun, and a row for each of its jobs."""
    commit = provenance("")  # of the code that the sweep begins with
    paths = ",".join(str(folder / f"{Path(name).stem}.png") for name in IMAGES)
    with tempfile.TemporaryDirectory() as sweep_folder:
        command = ["python", "-m", "miner.run", "-m", f"{factor}={values}", "logger=none"]
        places = [f"image.path={paths}", f"hydra.sweep.dir={sweep_folder}"]
        done = subprocess.run([sys.executable, *command[1:], *places], cwd=ROOT, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{factor}: the sweep failed")
        for path in sorted(Path(sweep_folder).glob("*/report.json")):
            report = json.loads(path.read_text())
            chosen = dict(override.split("=", 1) for override in report["overrides"])
            row = {
                "factor": factor,
                "value": chosen[factor],
                "image": Path(report["image"]).name,
                **{name: report[name] for name in ("psnr_db", "n_parameters")},
                "parameters_per_pixel": report["parameters_per_pixel"],
                "bits_per_pixel": report["bits_per_pixel"],
                "fit_time_s": report["fit_time_s"],
            }
            shown = " ".join([*command, f"image.path={','.join(IMAGES)}"])
            append_row(results, row | commit | {"command": shown})


if __name__ == "__main__":
    main()
