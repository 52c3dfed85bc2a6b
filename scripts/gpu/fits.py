"""Whole fits by `python -m miner.run`, each in a separate process, whose memory is measured."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
from gpu.journal import Journal
from rows import ROOT, Value

REPORTED = (
    "psnr_db", "ssim", "n_parameters", "parameters_per_pixel", "fit_time_s", "wall_time_s",
    "peak_gpu_memory_gib", "peak_memory_gib",
)  # fmt: skip


class Goal(NamedTuple):
    """What one of an image's recipes is to reach; `at_most` are bounds of other reported values."""

    psnr_db: float
    fit_time_s: float
    at_most: Mapping[str, float] = {}

    def __str__(self) -> str:
        bounds = {**self.at_most, "fit_time_s": self.fit_time_s}
        within = (f"{name} at most {most:g}" for name, most in bounds.items())
        return ", ".join([f"at least {self.psnr_db:g} dB", *within])

    def is_as_good(self, report: Mapping[str, float | None]) -> bool:
        """Whether a fit reaches everything but the time."""
        values = [(report[name], most) for name, most in self.at_most.items()]
        psnr_db = report["psnr_db"]
        is_within = all(value is not None and value <= most for value, most in values)
        return psnr_db is not None and psnr_db >= self.psnr_db and is_within


class Job(NamedTuple):
    """An image and its recipes, each fitted `repeats` times in turn, in some `expected_s` each."""

    name: str
    recipes: Sequence[str]
    expected_s: float
    goal: Goal | None = None
    repeats: int = 2


def run_job(job: Job, image: Path, common: Sequence[str], scratch: Path, journal: Journal) -> None:
    """Fit an image with all recipes, and say whether one of them reaches the goal."""
    times: list[float] = []
    for repeat in range(job.repeats):
        for recipe in job.recipes:
            what = f"{job.name} {recipe}, fit {repeat + 1}"
            if not journal.has_time_for(what, job.expected_s):
                continue
            report = fitted(what, image, [*recipe.split(), *common], scratch / "run", journal)
            if report is None:
                continue
            journal.row("fits", row_of(job.name, recipe, repeat, report))
            if job.goal and job.goal.is_as_good(report):
                times.append(report["fit_time_s"])
    if job.goal:
        best, most = min(times, default=None), job.goal.fit_time_s
        journal.target(f"{job.name}, fit time (s)", str(job.goal), best, most)


def fitted(
    what: str, image: Path, overrides: Sequence[str], run: Path, journal: Journal
) -> dict[str, Any] | None:
    """The report of a fit, and the backend that it used; None, noted, if there is none."""
    places = ["logger=none", f"image.path={image}", f"hydra.run.dir={run}"]
    command = [sys.executable, "-m", "miner.run", *overrides, *places]
    left = max(1.0, journal.left_s())
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=left)
        if done.returncode != 0:
            journal.fail(f"{what}: {(done.stdout + done.stderr)[-2000:]}")
            return None
        report: dict[str, Any] = json.loads((run / "report.json").read_text())
        manifest = json.loads((run / "representation" / "manifest.json").read_text())
        return report | {"backend": manifest["fit"].get("backend", "unknown")}
    except subprocess.TimeoutExpired:
        journal.leave_out(f"{what}: was stopped after {left:.0f} s")
        return None
    finally:
        shutil.rmtree(run, ignore_errors=True)


def row_of(name: str, recipe: str, repeat: int, report: Mapping[str, Any]) -> dict[str, Value]:
    """What is kept of a report."""
    megapixels = report["width_px"] * report["height_px"] / 1e6
    row = {"image": name, "megapixels": megapixels, "recipe": recipe, "repeat": repeat + 1}
    return row | {each: report[each] for each in ("device", "backend", *REPORTED)}


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
