"""Run the ready-made ablations, or sweeps around the default recipe, and write their rows.

python scripts/recipes.py                       the ablations, into results/ablations/*.tsv
python scripts/recipes.py --only pyramid --folder FOLDER
python scripts/recipes.py --images FOLDER       sweeps of the factors below, into results/recipe.tsv
python scripts/recipes.py --images FOLDER --only patch_size

Ablations that are started again with the same --folder do not repeat their finished jobs. A sweep
varies one factor, all else as in the defaults, on 288x288 pixels from the middle of each image
(pluto.jpg is reduced to 1024x1024 first).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
from rows import ROOT, Value, append_row, provenance

from miner.support.run_files import read_report

ABLATIONS = {
    "pyramid": "experiment=ablation/pyramid",
    "weights": "experiment=ablation/weights",
    "optimizer": "experiment=ablation/optimizer",
    "activation": "experiment=ablation/activation",
    # the pyramids again, with the reference's activation and encoding
    "pyramid_gaussian": "experiment=ablation/pyramid activation=gaussian encoding=positional "
    "level_selection.coarse_ratio=1",
    # the README's example, with the default recipe
    "example": "pyramid=gaussian,laplacian image=hubble,retina,coffee image.crop_px=256 seed=0,1,2",
    # each region at one level, or finer levels wherever coarser ones fall short
    "selection": "experiment=ablation/selection",
    # what a penalty on seams is worth; needs PYTHONPATH=tests/plugins
    "seam": "hydra.searchpath=[file://tests/plugins/conf] loss=mse,seam backend=eager "
    "image=astronaut,hubble,retina,chelsea,coffee,brick image.crop_px=256 seed=0,1,2",
}
NUMBERS = ("psnr_db", "ssim", "seam_ratio", "n_parameters", "bits_per_pixel", "fit_time_s")
EARLY_STEPS = (50, 150)  # of the finest level
IMAGES = ("pluto.jpg", "kodim05.png", "kodim20.png", "Road.jpg", "Acrylic.jpg")
SIDE = 288
FACTORS = {
    "experiment": "fast,balanced,quality,smallest,budget",
    "pyramid": "gaussian,laplacian",
    "pyramid.n_levels": "1,2,3,auto",
    "level_selection": "per_level,adaptive",
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
    "optimizer": "adam,adamw,nadam,radam,soap",
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
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="sweep factors, on the images in this folder")
    parser.add_argument("--only", choices=sorted({*ABLATIONS, *FACTORS}), action="append")
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "ablations")
    arguments = parser.parse_args()
    if arguments.images is None:
        for name in arguments.only or ABLATIONS:
            ablate(name, arguments.folder / name)
        return
    with tempfile.TemporaryDirectory() as folder:
        middles = [write_middle(arguments.images / name, Path(folder)) for name in IMAGES]
        for factor in arguments.only or FACTORS:
            sweep(factor, middles)


def ablate(name: str, folder: Path) -> None:
    """Run an ablation, or what of it has not finished, and write its table anew."""
    settings = [*ABLATIONS[name].split(), "hydra/launcher=joblib", "logger=none"]
    origin = first_origin(folder, provenance(" ".join(["python -m miner.run -m", *settings])))
    reports = multirun(settings, folder)
    path = ROOT / "results" / "ablations" / f"{name}.tsv"
    path.unlink(missing_ok=True)
    for report in sorted(reports, key=lambda report: list(report["overrides"])):
        pairs = (override.split("=", 1) for override in report["overrides"])
        chosen = {key: value for key, value in pairs if key not in ("experiment", "logger")}
        early = {f"psnr_db_after_{n}": psnr_after(report["curve"], n) for n in EARLY_STEPS}
        append_row(path, {**chosen, **{name: report[name] for name in NUMBERS}, **early, **origin})


def first_origin(folder: Path, origin: dict[str, Value]) -> dict[str, Value]:
    """The origin of the first start in a folder; other code cannot continue its jobs."""
    path = folder / "origin.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(origin))
    stored: dict[str, Value] = json.loads(path.read_text())
    if stored["commit"] != origin["commit"]:
        raise SystemExit(
            f"{folder}: was begun with commit {stored['commit']}, this is {origin['commit']}; "
            "name another --folder"
        )
    return stored


def psnr_after(curve: Mapping[str, Sequence[Any]], n_steps: int) -> float:
    """PSNR of the finest level after so many of its steps, as measured in training."""
    points = zip(curve["level"], curve["step"], curve["psnr_db"], strict=True)
    finest = [(step, psnr) for level, step, psnr in points if level == 0]
    return float([psnr for step, psnr in finest if step - finest[0][0] <= n_steps][-1])


def write_middle(image: Path, folder: Path) -> Path:
    """Write the middle of an image and give its path."""
    pixels = cv2.imread(str(image), cv2.IMREAD_ANYCOLOR)
    if pixels is None:
        raise SystemExit(f"{image}: cannot be read as an image")
    if image.name == "pluto.jpg":
        pixels = cv2.resize(pixels, (1024, 1024), interpolation=cv2.INTER_AREA)
    top, left = (max(0, (side - SIDE) // 2) for side in pixels.shape[:2])
    path = folder / f"{image.stem}.png"
    cv2.imwrite(str(path), pixels[top : top + SIDE, left : left + SIDE])
    return path


def sweep(factor: str, images: Sequence[Path]) -> None:
    """Vary one factor and add a row for each job."""
    settings = [f"{factor}={FACTORS[factor]}", "logger=none"]
    shown = [*settings, f"image.path={','.join(IMAGES)}"]
    origin = provenance(" ".join(["python -m miner.run -m", *shown]))
    with tempfile.TemporaryDirectory() as folder:
        path = f"image.path={','.join(map(str, images))}"
        reports = multirun([*settings, path], Path(folder))
    for report in reports:
        value = dict(override.split("=", 1) for override in report["overrides"])[factor]
        names = ("psnr_db", "n_parameters", "parameters_per_pixel", "bits_per_pixel", "fit_time_s")
        numbers = {name: report[name] for name in names}
        row = {"factor": factor, "value": value, "image": Path(report["image"]).name}
        append_row(ROOT / "results" / "recipe.tsv", row | numbers | origin)


def multirun(settings: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Run a sweep in a folder; gives its reports."""
    command = [sys.executable, "-m", "miner.run", "-m", *settings, f"hydra.sweep.dir={folder}"]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise SystemExit(f"jobs failed: {' '.join(settings)}")
    return [report for report in map(read_report, sorted(folder.glob("*-*"))) if report]


if __name__ == "__main__":
    main()
