"""Check and time MINER on a GPU in one call: ceilings, correctness, steps against floors, fits.

python scripts/bench_gpu.py IMAGES                      rows in results/gpu_*.tsv
python scripts/bench_gpu.py IMAGES --part gigapixel     one part of it; may be given several times
python scripts/bench_gpu.py IMAGES --rehearse           all of it, tiny, on a CPU; writes nothing

IMAGES is a folder with pluto.jpg, Road.jpg, caliterra_mosaic_8000x9000.jpg and, for the gigapixel,
further photographs. The call ends within --minutes: what there is no time for is said to be left
out. Docs, also for a machine without a network: docs/gpu.md.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import gpu_checks
import gpu_launches
import gpu_steps
import torch
from gpu_ceilings import Ceilings, measure
from gpu_fits import compose, reduced, run_job
from gpu_journal import Journal
from gpu_machine import described, origin
from gpu_plans import CHECKED, COMPOSED, MOSAIC, PLUTO, Plan, full, rehearsal
from rows import ROOT

from miner.kernels.backend import TritonBackend

PARTS = {"checks": 0.35, "steps": 0.55, "fits": 1.0, "gigapixel": 1.0, "launches": 1.0}
"""Each with the share of the time by which it is over, unless it is the last that is asked for."""

SHOWN = "python scripts/bench_gpu.py IMAGES"
PROGRAMS = "miner.kernels.triton"


def main() -> int:
    """Run the parts in turn; gives 1 if something was found to be wrong."""
    arguments = parsed()
    device = torch.device("cpu" if arguments.rehearse else "cuda")
    if arguments.rehearse:
        os.environ["TRITON_INTERPRET"] = "1"  # before the programs are imported
    plan = rehearsal() if arguments.rehearse else full()
    asked = [part for part in PARTS if part in (arguments.part or PARTS)]
    command = " ".join([SHOWN, *(f"--part {part}" for part in arguments.part or [])])
    measured_at = origin(command, arguments.commit, device)
    journal = Journal(arguments.out, measured_at, arguments.minutes)
    print(described(device), flush=True)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            run_parts(asked, plan, arguments.images, Path(scratch), device, journal)
    finally:
        print(f"\n{journal.summary()}", flush=True)
    return 1 if journal.failures else 0


def parsed() -> argparse.Namespace:
    """The command line; ends here where there is neither a GPU nor a rehearsal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder with the images")
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    parser.add_argument("--minutes", type=float, default=9.5, help="for the whole call")
    parser.add_argument("--out", type=Path, help="folder of the rows (results)")
    parser.add_argument("--commit", help="of this code, where git cannot tell")
    parser.add_argument("--rehearse", action="store_true", help="tiny, on a CPU")
    arguments = parser.parse_args()
    if not arguments.rehearse:
        if not torch.cuda.is_available():
            parser.exit(1, "no CUDA device here: --rehearse runs every part, tiny, on the CPU\n")
        arguments.out = arguments.out or ROOT / "results"
    return arguments


def run_parts(
    asked: Sequence[str],
    plan: Plan,
    images: Path,
    scratch: Path,
    device: torch.device,
    journal: Journal,
) -> None:
    """The parts that are asked for, in turn."""
    pictures = [images / name for name in CHECKED]

    def checks() -> None:
        gpu_checks.check(TritonBackend(), plan.checks, pictures, device, journal)

    def steps() -> None:
        ceilings = measured_ceilings(plan, device, journal)
        gpu_steps.time_steps(TritonBackend(), plan.steps, pictures, device, ceilings, journal)
        gpu_steps.note_resources(PROGRAMS, journal)

    parts: dict[str, Callable[[], None]] = {
        "checks": checks,
        "steps": steps,
        "fits": lambda: fit_all(plan, images, scratch, journal),
        "gigapixel": lambda: fit_gigapixel(plan, images, scratch, journal),
        "launches": lambda: gpu_launches.time_launches(plan.launches, pictures, device, journal),
    }
    for part in asked:
        journal.share = 1.0 if part == asked[-1] else PARTS[part]
        with journal.noting(part):  # a program that breaks may break all that this process asks
            parts[part]()
        if device.type == "cuda":
            with journal.noting("memory given back"):  # what follows may be another process
                torch.cuda.empty_cache()


def fit_all(plan: Plan, images: Path, scratch: Path, journal: Journal) -> None:
    """Pluto with our recipes and the reference's, and the mosaic."""
    pluto = reduced(images / PLUTO, scratch / "pluto.png", plan.pluto_side)
    run_job(plan.pluto, pluto, plan.common, scratch, journal)
    run_job(plan.mosaic, images / MOSAIC, plan.common, scratch, journal)
    run_job(plan.reference, pluto, plan.common, scratch, journal)


def fit_gigapixel(plan: Plan, images: Path, scratch: Path, journal: Journal) -> None:
    """Compose the photographs that are there to a large square, and fit it from its file."""
    job, side = plan.gigapixel, plan.gigapixel_side
    image = scratch / f"{side}x{side}.tif"
    if journal.has_time_for(job.name, plan.composing_s + job.expected_s):
        there = [images / name for name in COMPOSED if (images / name).exists()]
        compose(there, image, side)
        run_job(job, image, plan.common, scratch, journal)


def measured_ceilings(plan: Plan, device: torch.device, journal: Journal) -> Ceilings:
    """The ceilings, with a row for each."""
    ceilings = measure(device, plan.copied_bytes, plan.matrix_side)
    journal.row("ceilings", {"what": "copy, TB/s read and written", "value": ceilings.copy / 1e12})
    journal.row("ceilings", {"what": "float32 products, TFLOP/s", "value": ceilings.float32 / 1e12})
    journal.row("ceilings", {"what": "tf32 products, TFLOP/s", "value": ceilings.tf32 / 1e12})
    return ceilings


if __name__ == "__main__":
    sys.exit(main())
