"""Whole fits by `python -m miner.run`, each in a separate process, whose memory is measured."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from gpu.journal import Journal
from rows import ROOT, Value

MOST_OUTPUT = 2000
REPORTED = (
    "psnr_db", "ssim", "n_parameters", "parameters_per_pixel", "fit_time_s", "wall_time_s",
    "peak_gpu_memory_gib", "peak_memory_gib",
)  # fmt: skip


@dataclass(frozen=True)
class Goal:
    """What one of an image's recipes is to reach."""

    psnr_db: float
    fit_time_s: float
    parameters_per_pixel: float | None = None
    peak_gpu_memory_gib: float | None = None

    def __str__(self) -> str:
        bounds = [f"at least {self.psnr_db:g} dB"]
        if self.parameters_per_pixel is not None:
            bounds.append(f"at most {self.parameters_per_pixel:g} parameters per pixel")
        if self.peak_gpu_memory_gib is not None:
            bounds.append(f"at most {self.peak_gpu_memory_gib:g} GiB of GPU memory")
        return ", ".join([*bounds, f"at most {self.fit_time_s:g} s"])

    def is_as_good(self, report: dict[str, Any]) -> bool:
        """Whether a fit reaches everything but the time."""
        bounds = {
            "parameters_per_pixel": self.parameters_per_pixel,
            "peak_gpu_memory_gib": self.peak_gpu_memory_gib,
        }
        within = [
            report[name] is not None and report[name] <= bound
            for name, bound in bounds.items()
            if bound is not None
        ]
        psnr_db = report["psnr_db"]
        return psnr_db is not None and psnr_db >= self.psnr_db and all(within)


@dataclass(frozen=True)
class Job:
    """An image and the recipes that it is fitted with, each `repeats` times in turn.

    The first fit of a recipe may compile. `expected_s` is the wall time of one fit.
    """

    name: str
    recipes: Sequence[str]
    expected_s: float
    goal: Goal | None = None
    repeats: int = 2


def run_job(job: Job, image: Path, common: Sequence[str], scratch: Path, journal: Journal) -> None:
    """Fit an image with all recipes, and say whether one of them reaches the goal."""
    best: float | None = None
    for repeat in range(job.repeats):
        for recipe in job.recipes:
            what = f"{job.name} {recipe or 'default'}, fit {repeat + 1}"
            if not journal.has_time_for(what, job.expected_s):
                continue
            overrides = [*recipe.split(), *common]
            report = fitted(what, image, overrides, scratch / "run", journal)
            if report is None:
                continue
            journal.row("fits", row_of(job.name, recipe, repeat, report))
            if job.goal and job.goal.is_as_good(report):
                best = min(best or float("inf"), report["fit_time_s"])
    if job.goal:
        is_met = best is not None and best <= job.goal.fit_time_s
        journal.target(f"{job.name}, fit time (s)", str(job.goal), best, is_met)


def fitted(
    what: str, image: Path, overrides: Sequence[str], run: Path, journal: Journal
) -> dict[str, Any] | None:
    """The report of a fit, with the program that took its steps; None, noted, if there is none."""
    places = ["logger=none", f"image.path={image}", f"hydra.run.dir={run}"]
    command = [sys.executable, "-m", "miner.run", *overrides, *places]
    left = max(1.0, journal.left_s())
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=left)
        if done.returncode != 0:
            journal.fail(f"{what}: {(done.stdout + done.stderr)[-MOST_OUTPUT:]}")
            return None
        report: dict[str, Any] = json.loads((run / "report.json").read_text())
        manifest = json.loads((run / "representation" / "manifest.json").read_text())
        return report | {"backend": manifest["fit"].get("backend", "unknown")}
    except subprocess.TimeoutExpired:
        journal.left_out.append(f"{what}: was stopped after {left:.0f} s")
        return None
    finally:
        shutil.rmtree(run, ignore_errors=True)


def row_of(name: str, recipe: str, repeat: int, report: dict[str, Any]) -> dict[str, Value]:
    """What is kept of a report."""
    row: dict[str, Value] = {
        "image": name,
        "megapixels": report["width_px"] * report["height_px"] / 1e6,
        "recipe": recipe or "default",
        "repeat": repeat + 1,
        "device": report["device"],
        "backend": report["backend"],
    }
    return row | {reported: report[reported] for reported in REPORTED}


def reduced(source: Path, target: Path, side: int) -> Path:
    """An image as grey values, reduced by area to a square."""
    pixels = cv2.imread(str(source), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise SystemExit(f"{source}: is not a readable image; give the folder that holds it")
    cv2.imwrite(str(target), cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA))
    return target


def compose(images: Sequence[Path], target: Path, side: int) -> None:
    """A square of photographs, as a tiled TIFF."""
    folder = target.parent / "photographs"
    folder.mkdir()
    for image in images:
        (folder / image.name).symlink_to(image.resolve())
    script = [sys.executable, str(ROOT / "scripts" / "compose_image.py"), str(folder), str(target)]
    sides = [f"--width={side}", f"--height={side}", "--compression=none"]
    subprocess.run([*script, *sides], check=True)
