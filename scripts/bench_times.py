"""What bench.py measures besides fits: seconds of answers, points, comparisons and commands."""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import cv2
from rows import ROOT, provenance

Row = dict[str, Any]
Options = argparse.Namespace


def startup(options: Options) -> Iterator[Row]:
    """Seconds until a command prints its help, or refuses a setting."""
    for name, arguments in COMMANDS.items():
        command = ["-m", "miner.run", *arguments.split()]
        seconds = []
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as folder:
                seconds.append(python_seconds(command, cwd=folder, capture_output=True))
        row: Row = {"what": name, "median_s": statistics.median(seconds), "worst_s": max(seconds)}
        row |= {"repeats": options.repeats}
        yield row | provenance(f"python -m miner.run {arguments}")


COMMANDS = {
    "help": "--help",
    "composed configuration": "--cfg job",
    "unknown option": "pyramid=wavelet",
    "value out of range": "patch_size=0",
    "missing image": "image.path=missing.jpg",
    "refused optimizer": "optimizer._target_=torch.optim.LBFGS",
}


def comparison(options: Options) -> Iterator[Row]:
    """Seconds of `python -m miner.compare`, and the size of its page."""
    n_runs = sum(1 for _ in options.images.rglob("report.json"))
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as out:
            command = ["-m", "miner.compare", str(options.images), "--out", out]
            seconds = python_seconds(command, check=True)
            page_mb = (Path(out) / "comparison.html").stat().st_size / 1e6
        row: Row = {"n_runs": n_runs, "seconds": seconds, "page_mb": page_mb}
        yield row | provenance("python -m miner.compare FOLDER")


def points(options: Options) -> Iterator[Row]:
    """Seconds of a million random points, of a pixel and of all pixels of a stored run."""
    import torch

    import miner

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    shown = miner.load(options.images)
    xy = 2 * torch.rand(10**6, len(shown.spec.sides), dtype=torch.float64) - 1
    calls: dict[str, Callable[[], object]] = {
        "rep(xy), 1e6 points": lambda: shown(xy),
        "rep.at_pixels, 1 pixel": lambda: shown.at_pixels([[0] * xy.shape[1]]),
        "rep.render()": shown.render,
    }
    for what, call in calls.items():
        call()
        seconds = [timeit.timeit(call, number=1) for _ in range(options.repeats)]
        row: Row = {"image": (shown.report or {}).get("image"), "what": what}
        row |= {"megapixels": math.prod(shown.spec.sides) / 1e6}
        row |= {"median_s": statistics.median(seconds), "worst_s": max(seconds)}
        yield row | {"repeats": options.repeats} | provenance("scripts/bench.py points RUN")


def python_seconds(command: list[str], spy: Sequence[str] = (), **options: Any) -> float:
    """How long Python runs, under another command; options are those of `subprocess.run`."""
    began = time.perf_counter()
    subprocess.run([*spy, sys.executable, *command], **options)
    return time.perf_counter() - began


RATE = 50  # samples a second; each stops all threads for a moment
SPY = f"py-spy record --format raw --rate {RATE} --threads --idle --output stacks.txt --".split()
FAST = "experiment=fast logger=csv"
WALL_JOBS = {  # settings; the image if it is no sample
    "small": (f"image=camera image.crop_px=256 {FAST}", ""),
    "megapixel": (FAST, "pluto_1024.png"),
    "16mp": (FAST, "pluto_4096.png"),
    "72mp": (FAST, "caliterra_mosaic_8000x9000.jpg"),
    "gigapixel": (FAST, "32768x32768.tif"),
    "default": ("", ""),
    "sweep": ("-m seed=range(12) image=camera image.crop_px=128 experiment=fast", ""),
}
STAGES = {  # parts of frames `function (file:line)`; the innermost frame that has one decides
    "imports": ("importlib._bootstrap", "<module>"),
    "loggers": ("(wandb/", "/loggers/", "(tensorboard/", "LoggerMedia."),
    "writing": ("/encode.py", "write_", "FolderStore.", "/run_files.py", "Report."),
    "decoding": ("(miner/images/",),
    "pictures": ("(miner/visual/", "/callbacks/pictures.py"),
    "pyramid": ("PyramidFit.__init__", "PyramidFit._reduce"),
    "backend": ("prepare_backend",),
    "rendering": ("PyramidFit.", "(miner/representation/"),
    "scores": ("(miner/metrics/",),
    "fit": ("(miner/fitting/", "run_blocks"),
    "composing": ("(hydra/", "(omegaconf/", "(pydantic/", "(miner/config/", "(miner/cli/"),
    "other": ("(pytorch_lightning/", "(miner/engine/", "(miner/run.py"),
}
WAITING = ("wait", "select", "_worker", "_publish_queue", "_wait_for_tstate_lock")


def wall(options: Options) -> Iterator[Row]:
    """Medians of a command's seconds, of its fits' and of importing its libraries alone, in turn.

    `overhead_s` is what is left. With --profile instead, of one run, the seconds of each stage: of
    the main thread, for which the user waits, and of all Python threads while they do not wait.
    """
    for job in options.job or [job for job in WALL_JOBS if job != "gigapixel"]:
        settings, image = WALL_JOBS[job]
        command = ["-m", "miner.run", *settings.split(), *([f"image.path={image}"] * bool(image))]
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            if image.startswith("pluto"):
                reduce_pluto(options.images / "pluto.jpg", folder / image)
            elif image:
                (folder / image).symlink_to((options.images / image).resolve())
            measure = stage_seconds if options.profile else total_seconds
            yield from ({"job": job} | row for row in measure(command, folder, options.repeats))


def reduce_pluto(source: Path, target: Path) -> None:
    """Write pluto.jpg reduced by area to 4096x4096, and then to 1024x1024, as grey or as RGB."""
    pixels = cv2.imread(str(source), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise SystemExit(f"{source}: not found; give the folder that holds the test images")
    for side in (4096,) if "4096" in target.stem else (4096, 1024):
        pixels = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(target), cv2.merge([pixels] * 3) if "rgb" in target.stem else pixels)


def total_seconds(command: list[str], folder: Path, repeats: int) -> Iterator[Row]:
    """One row."""
    rows = []
    for _ in range(repeats):
        bare, _ = run_in(folder, ["-c", "import torch, pytorch_lightning, hydra"])
        seconds, fit = run_in(folder, command)
        rows.append((seconds, fit, bare, seconds - fit - bare))
    medians = map(statistics.median, zip(*rows, strict=True))
    row: Row = dict(zip(("wall_s", "fit_s", "bare_s", "overhead_s"), medians, strict=True))
    yield row | {"repeats": repeats} | provenance(" ".join(["python", *command]))


def stage_seconds(command: list[str], folder: Path, repeats: int) -> Iterator[Row]:
    """A row for each stage of one run under py-spy, which needs root on macOS."""
    if run_in(folder, command, [f"{Path(sys.executable).parent}/{SPY[0]}", *SPY[1:]])[1] == 0:
        raise SystemExit("the command left no report")  # py-spy does not tell how it ended
    lines = (folder / "stacks.txt").read_text().splitlines()
    for stage, (main, busy) in count_samples(lines).items():
        row: Row = {"stage": stage, "main_s": main / RATE, "all_threads_s": busy / RATE}
        yield row | provenance(" ".join([*SPY, "python", *command]))


def run_in(folder: Path, command: list[str], spy: Sequence[str] = ()) -> tuple[float, float]:
    """Seconds of Python with this working tree, and of the fits that it reports; none is kept."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    seconds = python_seconds(command, spy, cwd=folder, env=environment, check=True)
    reports = [json.loads(path.read_text()) for path in folder.rglob("report.json")]
    shutil.rmtree(folder / "outputs", ignore_errors=True)
    return seconds, sum(report["fit_time_s"] for report in reports)


def count_samples(lines: Sequence[str]) -> dict[str, list[int]]:
    """Samples by stage: of the main thread, and of all threads while they do not wait.

    `lines` are py-spy's raw format: a thread, its frames from the outermost on, their samples.
    """
    found = {stage: [0, 0] for stage in ("exit", *STAGES)}
    main = next(line.partition(":")[0] for line in lines if ": MainThread" in line)
    for line in lines:  # those of its first moments lack the name
        stack, _, samples = line.rpartition(" ")
        _, *frames = stack.split(";")
        is_main = line.startswith(main)
        if frames or is_main:  # other threads without a frame begin or end
            known = product(reversed(frames), STAGES.items())
            stages = (stage for frame, (stage, parts) in known if any(p in frame for p in parts))
            counts = found[next(stages, "other" if frames else "exit")]
            function = stack.rpartition(";")[2].partition(" (")[0].rpartition(".")[2]
            counts[0] += is_main * int(samples)
            counts[1] += (function not in WAITING) * int(samples)
    return found
