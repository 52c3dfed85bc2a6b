"""Measure whole runs; each command adds rows to the file in results/ that has its name.

    python scripts/bench.py quality IMAGES [--job pluto]     fits by several recipes
    python scripts/bench.py scaling IMAGES                   seconds against pixels
    python scripts/bench.py ranks IMAGE                      seconds against processes
    python scripts/bench.py memory IMAGE... --folder FOLDER  peak memory and scratch space
    python scripts/bench.py startup                          seconds until a command answers
    python scripts/bench.py comparison FOLDER                seconds of comparing a sweep's runs
    python scripts/bench.py points RUN                       seconds of values of a stored run
    python scripts/bench.py wall IMAGES [--profile]          seconds of a command beside its fit's

IMAGES is a folder with the images that docs/benchmarks.md names, FOLDER that of a sweep of some
hundred runs. What is compared runs in turn, so that ratios survive a machine whose speed drifts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import NamedTuple

import cv2
from bench_times import WALL_JOBS, Options, Row, comparison, points, reduce_pluto, startup, wall
from rows import ROOT, append_row, provenance, read_header

RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
BLOCK = 512  # of st_blocks, in bytes


class Fit(NamedTuple):
    """A run that has ended: its folder; its report and all that is measured of every run."""

    folder: Path
    row: Row


@contextmanager
def fit(
    image: Path, settings: Sequence[str], parent: Path | None = None, n_threads: int | None = None
) -> Iterator[Fit]:
    """Fit an image in another process; the run's folder, in `parent`, is removed at the end."""
    environment = {} if n_threads is None else {"OMP_NUM_THREADS": str(n_threads)}
    command = ["-m", "miner.run", *settings]
    shown = [*(f"{name}={value}" for name, value in environment.items()), "python", *command]
    origin = provenance(" ".join([*shown, f"image.path={image.name}"]))
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        command += [f"image.path={image.resolve()}", f"hydra.run.dir={folder}/run"]
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, *command], env=os.environ | environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"a fit ended with {process.returncode}: {origin['command']}")
        run = Path(folder) / "run"
        row = json.loads((run / "report.json").read_text()) | origin
        row |= {"image": image.name, "megapixels": row["width_px"] * row["height_px"] / 1e6}
        row |= {"process_time_s": seconds, "process_gib": usage.ru_maxrss * RSS_UNIT / 2**30}
        yield Fit(run, row)


REFERENCE = ("experiment=miner_pl_pluto", "backend=eager")
FAST, BALANCED, QUALITY = ((f"experiment={name}",) for name in ("fast", "balanced", "quality"))
KODAK = ("kodim05.png", "kodim15.png", "kodim20.png", "kodim23.png")
STORAGES = tuple((f"storage={name}",) for name in ("float32", "float16", "int8"))
JOBS: dict[str, tuple[Sequence[str], Sequence[Sequence[str]]]] = {  # images, recipes
    "pluto": (["pluto_1024.png"], [REFERENCE, BALANCED, FAST]),
    "smallest": (["pluto_1024.png"], [("experiment=smallest",)]),
    "recipes": ([*KODAK, "tulips_alpha.png"], [FAST, BALANCED, QUALITY]),
    "large": (["Road.jpg"], [FAST, BALANCED]),
    "storage": (["pluto_1024.png", "kodim23.png"], STORAGES),
    # MINER_pl's own code reads every image as RGB: this is what its figures are measured on.
    "pluto_rgb": (["pluto_1024_rgb.png"], [REFERENCE]),
}


def quality(options: Options) -> Iterator[Row]:
    """Fits of each job; PSNR is measured again here, on what the run stored."""
    with tempfile.TemporaryDirectory() as scratch:
        for job in options.job or JOBS:
            images, recipes = JOBS[job]
            for image, seed, recipe in product(images, range(options.repeats), recipes):
                path = options.images / image
                if image.startswith("pluto"):
                    path = Path(scratch) / image
                    reduce_pluto(options.images / "pluto.jpg", path)
                with fit(path, [*recipe, f"seed={seed}", "logger=none"]) as run:
                    check_psnr(path, run)
                    yield run.row | {"job": job, "recipe": " ".join(recipe)}


def check_psnr(image: Path, run: Fit) -> None:
    """Compare the reported PSNR with that of a rendering in this process."""
    import torch

    import miner
    from miner.images.source import open_image
    from miner.metrics.scores import psnr_of_sse, squared_error

    source = torch.from_numpy(open_image(str(image), 2**33).read())
    rendered = torch.from_numpy(miner.load(run.folder).render())
    measured = psnr_of_sse(float(squared_error(source, rendered).sum()), source.numel())
    if abs(measured - run.row["psnr_db"]) > 1e-6:
        raise SystemExit(f"{image.name}: reported {run.row['psnr_db']} dB, measured {measured} dB")


def scaling(options: Options) -> Iterator[Row]:
    """Squares from the middle of SeaSunset.jpg (5760x3840), and all of it, in turn.

    No block reaches the bound, so each takes every step: seconds per block then tell whether time
    is linear in pixels.
    """
    settings = ("experiment=fast", "fitting.max_mse=1e-12", "logger=none")
    whole = cv2.imread(str(options.images / "SeaSunset.jpg"), cv2.IMREAD_COLOR)
    if whole is None:
        raise SystemExit(f"{options.images}: holds no SeaSunset.jpg")
    with tempfile.TemporaryDirectory() as scratch:
        images = []
        for side in (512, 1024, 2048, 3840, max(whole.shape)):
            rows, columns = (max(0, (n - side) // 2) for n in whole.shape[:2])
            images.append(Path(scratch) / f"{side}.png")
            cv2.imwrite(str(images[-1]), whole[rows : rows + side, columns : columns + side])
        for image in options.repeats * images:
            with fit(image, settings) as run:
                n_active = sum(level["n_active"] for level in run.row["levels"])
                microseconds = 1e6 * run.row["fit_time_s"] / n_active
                yield run.row | {"n_active": n_active, "microseconds_per_block": microseconds}


def ranks(options: Options) -> Iterator[Row]:
    """1, 2 and 4 processes with a thread each, and one with two threads, in turn.

    `chunk_time_s` sums the seconds in which chunks were fitted, which is what any number of
    processes has to do; `same_bits` says whether all shards hold the tensors of the first run.
    """
    expected: dict[str, str] = {}
    for n_processes, n_threads in options.repeats * ((1, 1), (1, 2), (2, 1), (4, 1)):
        ddp = ["trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={n_processes}"]
        trainer = ddp if n_processes > 1 else ["trainer=cpu"]
        settings = ["experiment=fast", "logger=none", *trainer]
        with fit(options.images, settings, n_threads=n_threads) as run:
            digests, seconds = read_shards(run.folder / "representation")
            expected = expected or digests
            row = run.row | {"threads": n_threads, "n_chunks": len(digests)}
            yield row | {"chunk_time_s": seconds, "same_bits": str(digests == expected)}


def read_shards(folder: Path) -> tuple[dict[str, str], float]:
    """Digests of the shards' tensors by file, and the seconds that fitting them took in all."""
    from safetensors import safe_open

    digests, seconds = {}, 0.0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        digests[path.name] = metadata["tensors_sha256"]
        seconds += json.loads(metadata["stats"])["seconds"]
    return digests, seconds


def memory(options: Options) -> Iterator[Row]:
    """`peak_memory_gib` is the kernel's figure for a run's largest process."""
    settings = ["experiment=fast", "logger=csv", *options.override]
    for image in options.repeats * options.images:
        with (
            tempfile.TemporaryDirectory(dir=options.folder) as folder,
            watch_scratch(Path(folder)) as sizes,
            fit(image, settings, Path(folder)) as run,
        ):
            limit = 1 + run.row["settings"]["config"]["fitting"]["max_memory_gib"]
            row = run.row | {"limit_gib": limit, "settings": " ".join(settings)}
            row |= {"reported_gib": row["peak_memory_gib"], "peak_memory_gib": row["process_gib"]}
            yield row | {"scratch_gib": max(sizes, default=0) / 2**30}


@contextmanager
def watch_scratch(folder: Path, interval_s: float = 1.0) -> Iterator[list[int]]:
    """Record every second how many bytes the scratch files of runs below a folder need."""
    sizes: list[int] = []
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(interval_s):
            sizes.append(scratch_bytes(folder))

    with ThreadPoolExecutor(1) as pool:
        pool.submit(watch)
        try:
            yield sizes
        finally:
            is_over.set()


def scratch_bytes(folder: Path) -> int:
    """Disk space of scratch files, which may be created and deleted meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names if ".miner-scratch" in parent else ():
            with suppress(FileNotFoundError):
                total += (Path(parent) / name).stat().st_blocks * BLOCK
    return total


def main() -> None:
    """Measure, and write each row as soon as it is there."""
    summary, _, usage = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    repeats = {quality: 1, scaling: 3, ranks: 3, memory: 1, startup: 5, comparison: 3}
    repeats |= {points: 5, wall: 5}
    for measure, default in repeats.items():
        command = commands.add_parser(measure.__name__, description=measure.__doc__)
        command.set_defaults(measure=measure)
        command.add_argument("--results", type=Path, help="instead of the file in results/")
        command.add_argument("--repeats", type=int, default=default)
        if measure is not startup:
            several = "+" if measure is memory else None
            command.add_argument("images", type=Path, nargs=several, help="a folder, or images")
    commands.choices["quality"].add_argument("--job", choices=sorted(JOBS), action="append")
    commands.choices["wall"].add_argument("--job", choices=list(WALL_JOBS), action="append")
    commands.choices["wall"].add_argument("--profile", action="store_true", help="wall_stages.tsv")
    commands.choices["memory"].add_argument("--folder", type=Path, required=True)
    commands.choices["memory"].add_argument("--override", action="append", default=[])
    options = parser.parse_args()
    is_profile = options.command == "wall" and options.profile
    path = ROOT / "results" / ("wall_stages.tsv" if is_profile else f"{options.command}.tsv")
    for values in options.measure(options):
        row = {name: values[name] for name in read_header(path)}
        append_row(options.results or path, row)
        print(*(f"{name}={value}" for name, value in row.items()), sep="  ", flush=True)


if __name__ == "__main__":
    main()
