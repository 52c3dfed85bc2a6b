"""Time the steps of a kernel against the floors of the device, and against plain PyTorch."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gpu_blocks import Blocks, Case, blocks_of, settings_of
from gpu_ceilings import Ceilings
from gpu_clock import median_ms, milliseconds
from gpu_floors import bytes_per_launch, operations
from gpu_journal import Journal
from rows import Value

from miner.fitting.backend import Backend, EagerBackend

MOST_FLOORS = 4.0
TARGET = Case("closed_form", width=20)  # the reference's width and patches
WARM_UPS = 2
EXPECTED_S = 20.0  # of one case, the kernel's compilation included


@dataclass(frozen=True)
class Sizes:
    """What is timed; a launch takes `n_steps` steps."""

    cases: Sequence[Case]
    n_blocks: Sequence[int]
    n_steps: int
    repeats: int
    most_eager_blocks: int = 4096  # PyTorch keeps all layers of all of them


def time_steps(
    backend: Backend,
    sizes: Sizes,
    images: Sequence[Path],
    device: torch.device,
    ceilings: Ceilings,
    journal: Journal,
) -> None:
    """A row for each shape and number of blocks."""
    of_target: float | None = None
    for case in sizes.cases:
        for n_blocks in sizes.n_blocks:
            what = f"steps of {case}, {n_blocks} blocks"
            if not journal.has_time_for(what, EXPECTED_S):
                continue
            with journal.noting(what):
                blocks = blocks_of(case, images, n_blocks).to(device)
                row = timed(backend, case, blocks, sizes, device, ceilings)
                journal.row("steps", _shape(backend, case, n_blocks, sizes) | row)
                if case == TARGET:  # the largest number of blocks is last
                    of_target = row["times_floor"]
    is_met = of_target is not None and of_target <= MOST_FLOORS
    what = f"step over the larger floor, {TARGET}"
    journal.target(what, f"at most {MOST_FLOORS:g}", of_target, is_met)


def _shape(backend: Backend, case: Case, n_blocks: int, sizes: Sizes) -> dict[str, Value]:
    return {
        "backend": type(backend).__name__, "readout": case.readout, "width": case.width,
        "depth": case.depth, "patch_size_px": case.patch_size, "channels": case.channels,
        "n_blocks": n_blocks, "steps_per_launch": sizes.n_steps,
    }  # fmt: skip


def timed(
    backend: Backend,
    case: Case,
    blocks: Blocks,
    sizes: Sizes,
    device: torch.device,
    ceilings: Ceilings,
) -> dict[str, float]:
    """Times of a step of all blocks, in milliseconds, and the floors."""
    few = blocks.select(torch.arange(min(len(blocks.targets), sizes.most_eager_blocks)).to(device))
    first_ms, step_ms = step_times(backend, blocks, sizes, device)
    _, eager_ms = step_times(EagerBackend(), few, sizes, device)
    eager_ms *= len(blocks.targets) / len(few.targets)
    n_operations = operations(case, n_inputs=len(blocks.encoded)) * len(blocks.targets)
    arithmetic_ms = 1e3 * n_operations / ceilings.float32
    bytes_ms = 1e3 * bytes_per_launch(blocks) / sizes.n_steps / ceilings.copy
    return {
        "first_launch_s": first_ms / 1e3,
        "step_ms": step_ms,
        "microseconds_per_block": 1e3 * step_ms / len(blocks.targets),
        "tflop_per_s": n_operations / step_ms / 1e9,
        "eager_ms": eager_ms,
        "faster_than_eager": eager_ms / step_ms,
        "arithmetic_floor_ms": arithmetic_ms,
        "tf32_floor_ms": 1e3 * n_operations / ceilings.tf32,
        "bytes_floor_ms": bytes_ms,
        "times_floor": step_ms / max(arithmetic_ms, bytes_ms),
    }


def step_times(
    backend: Backend, blocks: Blocks, sizes: Sizes, device: torch.device
) -> tuple[float, float]:
    """Milliseconds of the first launch, which may compile, and of a step in a later one."""
    settings = settings_of(sizes.n_steps * (1 + WARM_UPS + sizes.repeats))
    given = (blocks.model, blocks.readout, settings, blocks.encoded, blocks.targets, blocks.start)
    steps = blocks.prepared(backend, settings).steps(*given)
    first = milliseconds(device, lambda: steps.advance(sizes.n_steps))
    later = median_ms(device, lambda: steps.advance(sizes.n_steps), sizes.repeats, WARM_UPS)
    return first, later / sizes.n_steps


def note_resources(package: str, journal: Journal) -> None:
    """A row for each program below a package that Triton compiled in this process."""
    for name, compiled in compiled_kernels(package):
        row: dict[str, Value] = {
            "program": name,
            "sizes": _sizes(compiled.src),
            "n_warps": compiled.metadata.num_warps,
            "n_registers": compiled.n_regs,
            "n_spills": compiled.n_spills,
            "shared_bytes": compiled.metadata.shared,
        }
        journal.row("kernels", row)


def _sizes(source: Any) -> str:
    """What a program was compiled for."""
    names = source.fn.arg_names
    return " ".join(f"{names[at[0]]}={value}" for at, value in source.constants.items())


def compiled_kernels(package: str) -> list[tuple[str, Any]]:
    """Triton's compiled programs of the imported modules below a package, by name."""
    found: dict[int, tuple[str, Any]] = {}
    for module_name, module in list(sys.modules.items()):
        if module_name == package or module_name.startswith(f"{package}."):
            for name, value in vars(module).items():
                for caches in getattr(value, "device_caches", {}).values():  # of a JITFunction
                    found |= {id(each): (name, each) for each in caches[0].values()}
    return list(found.values())
