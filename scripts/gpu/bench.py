"""Check and time MINER on a GPU in one call: ceilings, correctness, steps against floors, fits.

python scripts/gpu/bench.py IMAGES                      rows in results/gpu_*.tsv
python scripts/gpu/bench.py IMAGES --part gigapixel     one part of it; may be given several times
python scripts/gpu/bench.py IMAGES --rehearse           all of it, tiny, on a CPU; writes nothing

IMAGES is a folder with pluto.jpg, Road.jpg, caliterra_mosaic_8000x9000.jpg and, for the gigapixel,
further photographs. The call ends within --minutes, and names what it had no time for. More, also
for a machine without a network: docs/how-to/gpu.md.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from gpu.blocks import Setup
from gpu.checks import check
from gpu.fits import compose, reduced, run_job
from gpu.journal import Journal
from gpu.plans import CHECKED, COMPOSED, FULL, MOSAIC, PLUTO, REHEARSAL, Plan
from gpu.steps import note_resources, time_steps
from rows import ROOT, Value, provenance

from miner.fitting.backend import Backend
from miner.kernels.backend import TritonBackend

PARTS = {"checks": 0.35, "steps": 0.55, "fits": 1.0, "gigapixel": 1.0}
"""Each with the share of the time at which it ends, unless it is the last requested part."""


def main(arguments: Sequence[str] | None = None, backend: Backend | None = None) -> int:
    """Run the parts in turn; returns 1 if something is wrong."""
    options = parsed(arguments)
    device = torch.device("cpu" if options.rehearse else "cuda")
    if options.rehearse:
        os.environ["TRITON_INTERPRET"] = "1"  # before the programs are imported
    shown = [f"--part {part}" for part in options.part or []]
    command = " ".join(["python scripts/gpu/bench.py IMAGES", *shown])
    journal = Journal(options.out, origin(command, options.commit, device), options.minutes)
    print(journal.origin["hardware"], flush=True)
    pictures = [options.images / name for name in CHECKED]
    setup = Setup(backend or TritonBackend(), pictures, device, journal)
    parts = [part for part in PARTS if part in (options.part or PARTS)]
    try:
        with tempfile.TemporaryDirectory() as scratch:
            plan = REHEARSAL if options.rehearse else FULL
            run_parts(parts, plan, setup, options.images, Path(scratch))
    finally:
        print(f"\n{journal.summary()}", flush=True)
    return 1 if journal.failures else 0


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; exits if there is neither a GPU nor a rehearsal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder with the images")
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    parser.add_argument("--minutes", type=float, default=9.5, help="for the whole call")
    parser.add_argument("--out", type=Path, help="folder of the rows (results)")
    parser.add_argument("--commit", help="of this code, where there is no git")
    parser.add_argument("--rehearse", action="store_true", help="tiny, on a CPU")
    options = parser.parse_args(arguments)
    if not options.rehearse:
        if not torch.cuda.is_available():
            parser.exit(1, "no CUDA device here: --rehearse runs every part, tiny, on the CPU\n")
        options.out = options.out or ROOT / "results"
    return options


def run_parts(parts: Sequence[str], plan: Plan, setup: Setup, images: Path, scratch: Path) -> None:
    """Run the requested parts in turn."""

    def time_all_steps() -> None:
        time_steps(setup, plan.steps, plan.copied_bytes, plan.matrix_side)
        note_resources(setup.journal)

    actions: dict[str, Callable[[], None]] = {
        "checks": lambda: check(setup, plan.checks),
        "steps": time_all_steps,
        "fits": lambda: fit_all(plan, images, scratch, setup.journal),
        "gigapixel": lambda: fit_gigapixel(plan, images, scratch, setup.journal),
    }
    for part in parts:
        setup.journal.share = 1.0 if part == parts[-1] else PARTS[part]
        with setup.journal.noting(part):  # a broken program may make all later calls fail
            actions[part]()
        if setup.device.type == "cuda":
            with setup.journal.noting("memory released"):  # fits run in other processes
                torch.cuda.empty_cache()


def fit_all(plan: Plan, images: Path, scratch: Path, journal: Journal) -> None:
    """Pluto with our recipes and the reference's, and the mosaic."""
    pluto = reduced(images / PLUTO, scratch / "pluto.png", plan.pluto_side)
    run_job(plan.pluto, pluto, plan.common, scratch, journal)
    run_job(plan.mosaic, images / MOSAIC, plan.common, scratch, journal)
    run_job(plan.reference, pluto, plan.common, scratch, journal)


def fit_gigapixel(plan: Plan, images: Path, scratch: Path, journal: Journal) -> None:
    """Compose the photographs in the folder to a large square, and fit it from its file."""
    job, side = plan.gigapixel, plan.gigapixel_side
    image = scratch / f"{side}x{side}.tif"
    if journal.has_time_for(job.name, plan.composing_s + job.expected_s):
        found = [images / name for name in COMPOSED if (images / name).exists()]
        compose(found, image, side)
        run_job(job, image, plan.common, scratch, journal)


def origin(command: str, commit: str | None, device: torch.device) -> dict[str, Value]:
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
