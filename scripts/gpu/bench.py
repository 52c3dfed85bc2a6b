"""Check and time MINER on a GPU in one call: ceilings, correctness, steps against floors, fits.

python scripts/gpu/bench.py IMAGES                      rows in results/gpu_*.tsv
python scripts/gpu/bench.py IMAGES --part gigapixel     one part of it; may be given several times
python scripts/gpu/bench.py IMAGES --rehearse           all of it, tiny, on a CPU; writes nothing

IMAGES is a folder with pluto.jpg, Road.jpg, caliterra_mosaic_8000x9000.jpg and, for the gigapixel,
further photographs. The call ends within --minutes, and names what it had no time for. More, also
for a machine without a network: docs/gpu.md.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from gpu.checks import check
from gpu.fits import compose, reduced, run_job
from gpu.journal import Journal
from gpu.plans import CHECKED, COMPOSED, MOSAIC, PLUTO, Plan, full, rehearsal
from gpu.steps import measure_ceilings, note_resources, time_steps
from rows import ROOT, Value, provenance

from miner.fitting.backend import Backend
from miner.kernels.backend import TritonBackend

PARTS = {"checks": 0.35, "steps": 0.55, "fits": 1.0, "gigapixel": 1.0}
"""Each with the share of the time at which it ends, unless it is the last requested part."""

SHOWN = "python scripts/gpu/bench.py IMAGES"
PACKAGES = ("torch", "triton", "pytorch-lightning", "numpy")


def main(arguments: Sequence[str] | None = None, backend: Backend | None = None) -> int:
    """Run the parts in turn; returns 1 if something is wrong."""
    options = parsed(arguments)
    device = torch.device("cpu" if options.rehearse else "cuda")
    if options.rehearse:
        os.environ["TRITON_INTERPRET"] = "1"  # before the programs are imported
    plan = rehearsal() if options.rehearse else full()
    parts = [part for part in PARTS if part in (options.part or PARTS)]
    command = " ".join([SHOWN, *(f"--part {part}" for part in options.part or [])])
    journal = Journal(options.out, origin(command, options.commit, device), options.minutes)
    print(described(device), flush=True)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folders = options.images, Path(scratch)
            run_parts(parts, plan, *folders, device, journal, backend or TritonBackend())
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


def run_parts(
    parts: Sequence[str],
    plan: Plan,
    images: Path,
    scratch: Path,
    device: torch.device,
    journal: Journal,
    backend: Backend,
) -> None:
    """Run the requested parts in turn."""
    pictures = [images / name for name in CHECKED]

    def time_all_steps() -> None:
        ceilings = measure_ceilings(device, plan.copied_bytes, plan.matrix_side, journal)
        time_steps(backend, plan.steps, pictures, device, ceilings, journal)
        note_resources("miner.kernels.triton", journal)

    actions: dict[str, Callable[[], None]] = {
        "checks": lambda: check(backend, plan.checks, pictures, device, journal),
        "steps": time_all_steps,
        "fits": lambda: fit_all(plan, images, scratch, journal),
        "gigapixel": lambda: fit_gigapixel(plan, images, scratch, journal),
    }
    for part in parts:
        journal.share = 1.0 if part == parts[-1] else PARTS[part]
        with journal.noting(part):  # a broken program may make all later calls fail
            actions[part]()
        if device.type == "cuda":
            with journal.noting("memory released"):  # fits run in other processes
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
    """Where and how rows were measured; `commit` None is what git says."""
    found = provenance(command)
    if device.type == "cuda":
        gpu = f"{torch.cuda.get_device_name(device)}, driver {_query('driver_version')}"
        found["hardware"] = f"{gpu}, torch {torch.__version__}, {_n_cores()} cores"
    return found | {"commit": commit or found["commit"]}


def described(device: torch.device) -> str:
    """GPU, driver and versions, in a few lines."""
    packages = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    lines = [f"Python {platform.python_version()}, {packages}, {_n_cores()} cores"]
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        size = f"{found.total_memory / 2**30:.0f} GiB, L2 {found.L2_cache_size / 2**20:.0f} MiB"
        lines.append(f"{found.multi_processor_count} multiprocessors, {size}")
        lines.append(_query("name", "driver_version", "memory.total", "clocks.sm", "clocks.mem"))
    return "\n".join(lines)


def _query(*fields: str) -> str:
    """What the driver reports about the first GPU."""
    if shutil.which("nvidia-smi") is None:
        return "unknown"
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout.splitlines() or ["unknown"])[0]


def _n_cores() -> int:
    return len(os.sched_getaffinity(0))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"


if __name__ == "__main__":
    sys.exit(main())
