"""Whole fits by `python -m miner.run`, each in a separate process, whose memory is measured."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
from rows import ROOT

PLUTO, MOSAIC = "pluto.jpg", "caliterra_mosaic_8000x9000.jpg"
COMPOSED = ("Acrylic.jpg", "Road.jpg", "SeaSunset.jpg", "caliterra_IMG_9419.jpg")
FIT_COLUMNS = (
    "image", "megapixels", "recipe", "repeat", "device", "backend", "psnr_db", "ssim",
    "n_parameters", "parameters_per_pixel", "fit_time_s", "wall_time_s", "peak_gpu_memory_gib",
    "peak_memory_gib",
)  # fmt: skip
FAST, REFERENCE = "experiment=fast", "experiment=miner_pl_pluto"
WIDE_CHUNKS = "fitting.blocks_per_shard=16384 fitting.max_memory_gib=4"
RESIDUAL = "pyramid=laplacian pyramid.n_levels=2 level_selection.coarse_ratio=100"
UNIFORM = "patch_size=32 encoding.n_frequencies=8 model.width=[4,14] optimizer.lr=0.02"
FITS = {  # image and recipe, by part of the benchmark
    "fits": (
        ("pluto", f"fitting.max_steps=100 {WIDE_CHUNKS}"),
        ("pluto", f"{RESIDUAL} fitting.max_steps=60 capacity.probe_steps=25 {WIDE_CHUNKS}"),
        ("pluto", f"{FAST} {UNIFORM} fitting.max_steps=200 {WIDE_CHUNKS}"),
        ("pluto", f"{FAST} {WIDE_CHUNKS}"),
    ),
    "large": (("caliterra", f"{FAST} {WIDE_CHUNKS}"), ("pluto", REFERENCE)),
    "gigapixel": (("gigapixel", f"{FAST} model.width=[4,7] {WIDE_CHUNKS}"),),
}


def fit_image(image: Path, settings: Sequence[str], run: Path, timeout_s: float) -> dict[str, Any]:
    """The report of a fit, its megapixels and its backend; the run's folder is removed.

    Raises:
        RuntimeError: the fit failed.
        subprocess.TimeoutExpired: it took too long.
    """
    places = ["logger=none", f"image.path={image}", f"hydra.run.dir={run}"]
    command = [sys.executable, "-m", "miner.run", *settings, *places]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s)
        if done.returncode != 0:
            raise RuntimeError((done.stdout + done.stderr)[-2000:])
        report: dict[str, Any] = json.loads((run / "report.json").read_text())
        manifest = json.loads((run / "representation" / "manifest.json").read_text())
        report["megapixels"] = report["width_px"] * report["height_px"] / 1e6
        return report | {"backend": manifest["fit"].get("backend", "unknown")}
    finally:
        shutil.rmtree(run, ignore_errors=True)


def find_image(name: str, side: int, images: Path, scratch: Path) -> Path:
    """The file of pluto or gigapixel, made squares of a side once, or of caliterra."""
    if name == "caliterra":
        return (images / MOSAIC).resolve()
    path = scratch / ("pluto.png" if name == "pluto" else "gigapixel.tif")
    if not path.exists():
        (reduce if name == "pluto" else compose)(images, path, side)
    return path


def reduce(images: Path, target: Path, side: int) -> None:
    """Pluto as grey values, reduced by area to a square."""
    pixels = cv2.imread(str(images / PLUTO), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise ValueError(
            f"{images / PLUTO}: is not a readable image; give the folder that holds it"
        )
    cv2.imwrite(str(target), cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA))


def compose(images: Path, target: Path, side: int) -> None:
    """A square of photographs, as a tiled TIFF."""
    folder = target.with_name("photographs")
    folder.mkdir()
    for name in COMPOSED:
        if (images / name).exists():
            (folder / name).symlink_to((images / name).resolve())
    script = [sys.executable, str(ROOT / "scripts" / "compose_image.py"), str(folder), str(target)]
    sides = [f"--width={side}", f"--height={side}", "--compression=none"]
    subprocess.run([*script, *sides], check=True)
