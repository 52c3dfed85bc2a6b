"""Check and time MINER on a GPU in one call: ceilings, correctness, steps against floors, fits.

python scripts/bench_gpu.py IMAGES                      rows in results/gpu_*.tsv
python scripts/bench_gpu.py IMAGES --part gigapixel     one part of it; may be given several times
python scripts/bench_gpu.py IMAGES --rehearse           all of it, tiny, on a CPU; writes nothing

IMAGES is a folder with pluto.jpg, Road.jpg, caliterra_mosaic_8000x9000.jpg and, for the gigapixel,
further photographs. The call ends within --minutes: what there is no time for is said to be left
out. Docs, also for a machine without a network: docs/gpu.md.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import gpu_checks
import gpu_steps
import torch
from gpu_ceilings import Ceilings, measure
from gpu_fits import composing, reduced, run_job
from gpu_journal import Journal
from gpu_machine import described, origin
from gpu_plans import CHECKED, COMPOSED, MOSAIC, PLUTO, Plan, full, rehearsal
from rows import ROOT

from miner.fitting.kernel import FusedKernel, Kernel

PARTS = ("ceilings", "checks", "steps", "fits", "gigapixel")
TRITON_KERNELS = "miner.fitting.triton"


def main() -> int:
    """Run the parts in turn; gives 1 if something was found to be wrong."""
    arguments = parsed()
    device = torch.device("cpu" if arguments.rehearse else "cuda")
    plan = rehearsal() if arguments.rehearse else full()
    journal = Journal(arguments.out, origin(arguments.commit, device), arguments.minutes)
    print(described(device), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        run_parts(arguments.part or PARTS, plan, arguments.images, Path(scratch), device, journal)
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
    parts: list[str] | tuple[str, ...],
    plan: Plan,
    images: Path,
    scratch: Path,
    device: torch.device,
    journal: Journal,
) -> None:
    """The parts that are asked for. The gigapixel is composed beside those that need no CPU."""
    checked = [images / name for name in CHECKED]
    there = [images / name for name in COMPOSED if (images / name).exists()]
    is_composed = "gigapixel" in parts
    composed = composing(there, scratch, plan.gigapixel_side) if is_composed else None
    try:
        kernel = kernel_for(device)
        if "checks" in parts:
            gpu_checks.check(kernel, plan.checks, checked, device, journal)
        if "ceilings" in parts or "steps" in parts:
            ceilings = measured_ceilings(plan, device, journal)
            if "steps" in parts:
                gpu_steps.time_steps(kernel, plan.steps, checked, device, ceilings, journal)
        gpu_steps.note_resources(TRITON_KERNELS, journal)
        if device.type == "cuda":
            torch.cuda.empty_cache()  # the fits are other processes
        if "fits" in parts:
            fit_all(plan, images, scratch, journal)
        if composed is not None:
            path, process = composed
            if process.wait(timeout=max(1.0, journal.left_s())) != 0:
                journal.fail("the gigapixel was not composed, see the output above")
            else:
                run_job(plan.gigapixel, path, plan.common, scratch, journal)
    finally:
        if composed is not None:
            composed[1].kill()


def fit_all(plan: Plan, images: Path, scratch: Path, journal: Journal) -> None:
    """Pluto with our recipes and the reference's, and the mosaic."""
    pluto = reduced(images / PLUTO, scratch / "pluto.png", plan.pluto_side)
    run_job(plan.pluto, pluto, plan.common, scratch, journal)
    run_job(plan.mosaic, images / MOSAIC, plan.common, scratch, journal)
    run_job(plan.reference, pluto, plan.common, scratch, journal)


def measured_ceilings(plan: Plan, device: torch.device, journal: Journal) -> Ceilings:
    """The ceilings, with a row for each."""
    ceilings = measure(device, plan.copied_bytes, plan.matrix_side)
    journal.row("ceilings", {"what": "copy, TB/s read and written", "value": ceilings.copy / 1e12})
    journal.row("ceilings", {"what": "float32 products, TFLOP/s", "value": ceilings.float32 / 1e12})
    journal.row("ceilings", {"what": "tf32 products, TFLOP/s", "value": ceilings.tf32 / 1e12})
    return ceilings


def kernel_for(device: torch.device) -> Kernel:
    """The compiled steps of a device."""
    return FusedKernel()


if __name__ == "__main__":
    sys.exit(main())
