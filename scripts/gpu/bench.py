"""Check and time MINER on a GPU in one call: ceilings, correctness, steps against floors, fits.

python scripts/gpu/bench.py IMAGES                      rows in results/gpu_*.tsv
python scripts/gpu/bench.py IMAGES --part gigapixel     one part of it; may be given several times
python scripts/gpu/bench.py IMAGES --rehearse           all of it, tiny, on a CPU; writes nothing

IMAGES is a folder with pluto.jpg, Road.jpg, caliterra_mosaic_8000x9000.jpg and, for the gigapixel,
further photographs. After --minutes no case begins and fits are stopped; the end names what was
left out. More, also for a machine without a network: docs/how-to/gpu.md.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from gpu.blocks import Case, blocks_of, cast, settings_of
from gpu.checks import checked
from gpu.fits import FAST, FIT_COLUMNS, FITS, PLUTO, REFERENCE, find_image, fit_image
from gpu.steps import WARM_UPS, measure_ceilings, timed
from rows import ROOT, Value, append_row, provenance

from miner.fitting.backend import Backend
from miner.fitting.steps import BlockProblem
from miner.kernels.backend import TritonBackend

Row = dict[str, Value]
Rows = Iterator[tuple[str, Row]]  # each with the name of its table
PARTS = ("checks", "steps", *FITS)
CHECKED = (PLUTO, "Road.jpg")  # their patches are fitted for checks and for times of steps
CEILINGS = ("copy, TB/s read and written", "float32 products, TFLOP/s", "tf32 products, TFLOP/s")

TIMED = (
    Case("closed_form", 20),
    Case("closed_form", 10),
    Case("closed_form", 10, patch_size=16),
    Case("closed_form", 40),
    Case("closed_form", 20, channels=3),
    Case("scaled_sine", 20),
)
ALSO_CHECKED = (
    Case("closed_form", 8),
    Case("gaussian", 16),
    *(Case("sigmoid", width) for width in (20, 8, 40)),
    Case("sigmoid", 20, patch_size=16),
)
TINY = (Case("closed_form", 4, 8), Case("sigmoid", 4, 8), Case("scaled_sine", 4, 8, channels=3))


class Plan(NamedTuple):
    """Sizes of every part, for a GPU with some tens of gigabytes.

    A launch does `n_steps` steps, `sides` are those of images and `common` settings of all fits.
    """

    checked: Sequence[Case] = (*TIMED, *ALSO_CHECKED)
    n_checked: int = 1024
    n_check_steps: int = 100
    timed: Sequence[Case] = TIMED
    n_timed: Sequence[int] = (2048, 16384)
    n_steps: int = 50
    repeats: int = 5
    fits: Mapping[str, Sequence[tuple[str, str]]] = FITS
    sides: Mapping[str, int] = {"pluto": 4096, "gigapixel": 32768}
    common: Sequence[str] = ("trainer=cuda",)


REHEARSAL = Plan(
    checked=TINY,
    n_checked=4,
    n_check_steps=3,
    timed=TINY[:1],
    n_timed=[2],
    n_steps=2,
    repeats=1,
    fits={
        "fits": [("pluto", FAST), ("caliterra", FAST), ("pluto", REFERENCE)],
        "gigapixel": [("gigapixel", FAST)],
    },
    sides={"pluto": 64, "gigapixel": 512},
    common=("trainer=cpu", "fitting.max_steps=4", "image.crop_px=512"),
)


class Bench(NamedTuple):
    """What measures, and where; `deadline` is one of `time.monotonic`."""

    plan: Plan
    backend: Backend
    device: torch.device
    images: Path
    scratch: Path
    deadline: float

    def jobs(self, parts: Sequence[str]) -> Iterator[tuple[str, Callable[[], Rows]]]:
        """What the parts measure, in turn."""
        plan = self.plan
        if "checks" in parts:
            for case in plan.checked:
                yield f"check of {case}", partial(self.check, case)
        if "steps" in parts:
            yield "ceilings", self.measure_ceilings
            for case, n_blocks in product(plan.timed, plan.n_timed):
                yield f"steps of {case}, {n_blocks} blocks", partial(self.time, case, n_blocks)
        fits = [fit for part in parts for fit in plan.fits.get(part, ())]
        for n, (image, recipe) in enumerate(fits):
            repeat = 1 + fits[:n].count((image, recipe))
            yield f"fit {repeat} of {image}, {recipe}", partial(self.fit, image, recipe, repeat)

    def blocks(self, case: Case, n_blocks: int, n_steps: int) -> BlockProblem:
        """Patches of the images, on the device."""
        paths = [self.images / name for name in CHECKED]
        return cast(blocks_of(case, paths, n_blocks, settings_of(n_steps)), self.device)

    def check(self, case: Case) -> Rows:
        """A row of a check.

        Raises:
            RuntimeError: the fits are wrong; after the row.
        """
        n_blocks, n_steps = self.plan.n_checked, self.plan.n_check_steps
        numbers, wrong = checked(self.backend, self.blocks(case, n_blocks, n_steps))
        shape: Row = {
            "readout": case.readout, "width": case.width, "patch_size_px": case.patch_size,
            "channels": case.channels, "n_blocks": n_blocks, "n_steps": n_steps,
        }  # fmt: skip
        yield "checks", {**shape, **numbers}
        if wrong:
            raise RuntimeError("; ".join(wrong))

    def measure_ceilings(self) -> Rows:
        """A row for each ceiling of the device."""
        for name, value in zip(CEILINGS, measure_ceilings(self.device), strict=True):
            yield "ceilings", {"what": name, "value": value / 1e12}

    def time(self, case: Case, n_blocks: int) -> Rows:
        """A row of times of a step."""
        n_steps, repeats = self.plan.n_steps, self.plan.repeats
        blocks = self.blocks(case, n_blocks, n_steps * (1 + WARM_UPS + repeats))
        shape: Row = {
            "backend": type(self.backend).__name__, "readout": case.readout, "width": case.width,
            "depth": case.depth, "patch_size_px": case.patch_size, "channels": case.channels,
            "n_blocks": n_blocks, "steps_per_launch": n_steps,
        }  # fmt: skip
        numbers = timed(self.backend, blocks, n_steps, repeats, measure_ceilings(self.device))
        yield "steps", {**shape, **numbers}

    def fit(self, name: str, recipe: str, repeat: int) -> Rows:
        """A row of a whole fit, while this process holds no memory of the GPU."""
        if self.device.type == "cuda":
            with suppress(RuntimeError):  # a broken program breaks this process's GPU
                torch.cuda.empty_cache()
        image = find_image(name, self.plan.sides.get(name, 0), self.images, self.scratch)
        settings, left_s = [*recipe.split(), *self.plan.common], self.deadline - time.monotonic()
        report = fit_image(image, settings, self.scratch / "run", max(1.0, left_s))
        report["image"] = f"{name} {report['width_px']}x{report['height_px']}"
        report |= {"recipe": recipe, "repeat": repeat}
        yield "fits", {column: report[column] for column in FIT_COLUMNS}


def main(arguments: Sequence[str] | None = None, backend: Backend | None = None) -> int:
    """Run the parts in turn, and write each row at once; returns 1 if something is wrong."""
    options, began = parsed(arguments), time.monotonic()
    device = torch.device("cpu" if options.rehearse else "cuda")
    if options.rehearse:
        os.environ["TRITON_INTERPRET"] = "1"  # before the programs are imported
    shown = [f"--part {part}" for part in options.part or []]
    command = " ".join(["python scripts/gpu/bench.py IMAGES", *shown])
    where = origin(command, options.commit, device)
    print(where["hardware"], flush=True)
    deadline = began + 60 * options.minutes
    left_out, failures = [], []
    with tempfile.TemporaryDirectory() as scratch:
        plan, chosen = REHEARSAL if options.rehearse else Plan(), backend or TritonBackend()
        bench = Bench(plan, chosen, device, options.images, Path(scratch), deadline)
        for name, measure in bench.jobs(options.part or PARTS):
            if time.monotonic() > deadline:
                left_out.append(f"left out: {name}")
                continue
            try:
                for table, row in measure():
                    write(options.out, table, row, where)
            except subprocess.TimeoutExpired:
                left_out.append(f"left out: {name}")
            except Exception as error:  # a broken program may make all later jobs fail
                print(traceback.format_exc()[-3000:], flush=True)
                failures.append(f"FAILED: {name}: {type(error).__name__}: {str(error)[-300:]}")
    print(f"\n{time.monotonic() - began:.0f} s in all", *left_out, *failures, sep="\n", flush=True)
    return 1 if failures else 0


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; exits if there is neither a GPU nor a rehearsal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder with the images")
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which no case begins")
    parser.add_argument("--out", type=Path, help="folder of the rows (results)")
    parser.add_argument("--commit", help="of this code, where there is no git")
    parser.add_argument("--rehearse", action="store_true", help="tiny, on a CPU")
    options = parser.parse_args(arguments)
    if not options.rehearse:
        if not torch.cuda.is_available():
            parser.exit(1, "no CUDA device here: --rehearse runs every part, tiny, on the CPU\n")
        options.out = options.out or ROOT / "results"
    return options


def write(folder: Path | None, table: str, row: Row, where: Row) -> None:
    """Print a row, and append it with its origin to `gpu_<table>.tsv`, if there is a folder."""
    if folder is not None:
        append_row(folder / f"gpu_{table}.tsv", row | where)
    shown = (f"{k}={v:.5g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items())
    print(f"{table}:", *shown, flush=True)


def origin(command: str, commit: str | None, device: torch.device) -> Row:
    """Where and how rows were measured; `commit` None asks git."""
    found = provenance(command)
    if device.type == "cuda":
        gpu = f"{torch.cuda.get_device_name(device)}, driver {driver()}"
        n_cores = len(os.sched_getaffinity(0))
        found["hardware"] = f"{gpu}, torch {torch.__version__}, {n_cores} cores"
    return found | {"commit": commit or found["commit"]}


def driver() -> str:
    """The version of the first GPU's driver."""
    if shutil.which("nvidia-smi") is None:
        return "unknown"
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout.splitlines() or ["unknown"])[0]


if __name__ == "__main__":
    sys.exit(main())
