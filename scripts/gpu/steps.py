"""Time the steps of a backend against the floors of the device, and against plain PyTorch."""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gpu.blocks import Case, blocks_of, cast, prepared, settings_of
from gpu.journal import Journal
from rows import Value

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.steps import BlockProblem

_REPEATS = 10  # of a ceiling
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


@dataclass(frozen=True)
class Ceilings:
    """Bytes per second, read and written, and operations per second in the two precisions."""

    copy: float
    float32: float
    tf32: float


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
                n_steps = sizes.n_steps * (1 + WARM_UPS + sizes.repeats)
                blocks = blocks_of(case, images, n_blocks, settings_of(n_steps))
                blocks = cast(blocks, device)
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
    blocks: BlockProblem,
    sizes: Sizes,
    device: torch.device,
    ceilings: Ceilings,
) -> dict[str, float]:
    """Times of a step of all blocks, in milliseconds, and the floors."""
    n_eager = min(len(blocks.targets), sizes.most_eager_blocks)
    start = {name: tensor[:n_eager] for name, tensor in blocks.start.items()}
    few = blocks._replace(targets=blocks.targets[:n_eager], start=start)
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
    backend: Backend, blocks: BlockProblem, sizes: Sizes, device: torch.device
) -> tuple[float, float]:
    """Milliseconds of the first launch, which may compile, and of a step in a later one."""
    steps = prepared(backend, blocks).trainer(blocks)
    first = milliseconds(device, lambda: steps.advance(sizes.n_steps))
    later = median_ms(device, lambda: steps.advance(sizes.n_steps), sizes.repeats, WARM_UPS)
    return first, later / sizes.n_steps


def milliseconds(device: torch.device, action: Callable[[], object]) -> float:
    """Time of one call, from an idle device to an idle device."""
    if device.type != "cuda":
        began = time.perf_counter()
        action()
        return 1e3 * (time.perf_counter() - began)
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    first.record()
    action()
    last.record()
    torch.cuda.synchronize(device)
    return float(first.elapsed_time(last))


def median_ms(
    device: torch.device, action: Callable[[], object], repeats: int, warm_ups: int = 2
) -> float:
    """Median time of a call, after some that do not count."""
    for _ in range(warm_ups):
        action()
    return statistics.median(milliseconds(device, action) for _ in range(repeats))


def measure_ceilings(device: torch.device, n_bytes: int, side: int, journal: Journal) -> Ceilings:
    """Copy `n_bytes` and multiply two matrices of `side` squared random numbers; a row for each."""
    ceilings = Ceilings(
        copy=_copied(device, n_bytes),
        float32=_multiplied(device, side, "highest"),
        tf32=_multiplied(device, side, "high"),
    )
    journal.row("ceilings", {"what": "copy, TB/s read and written", "value": ceilings.copy / 1e12})
    journal.row("ceilings", {"what": "float32 products, TFLOP/s", "value": ceilings.float32 / 1e12})
    journal.row("ceilings", {"what": "tf32 products, TFLOP/s", "value": ceilings.tf32 / 1e12})
    return ceilings


def _copied(device: torch.device, n_bytes: int) -> float:
    source = torch.zeros(n_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    ms = median_ms(device, lambda: target.copy_(source), _REPEATS)
    return 2 * n_bytes / ms * 1e3


def _multiplied(device: torch.device, side: int, precision: str) -> float:
    one, two = (torch.randn(side, side, device=device) for _ in range(2))
    product = torch.empty_like(one)
    with _matmul_precision(precision):
        ms = median_ms(device, lambda: torch.mm(one, two, out=product), _REPEATS)
    return 2 * side**3 / ms * 1e3


@contextmanager
def _matmul_precision(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def operations(case: Case, n_inputs: int) -> int:
    """The least that one step of one block computes, a multiply-add counting as two.

    Only the definition's products count, at the network's own widths; sines, the optimiser's update
    and the solution of the readout's system are extra. A Gram matrix is symmetric and counts once.
    """
    H, C = case.width, case.channels
    inner = (case.depth - 1) * H * H
    layers = n_inputs * H + inner
    backward = layers + inner + H * C  # weights, features between layers, last features
    outputs = H * C
    # Solved for: Gram matrix, products with the targets. Trained: its gradient.
    readout = H * (H + 1) // 2 + H * C if case.readout == "closed_form" else H * C
    return 2 * case.patch_size**2 * (layers + outputs + readout + backward)


def bytes_per_launch(blocks: BlockProblem) -> int:
    """The least that one launch moves for all blocks, whatever the number of its steps.

    Targets and coordinates are read; parameters and both moments are read and written.
    """
    n_trained = sum(tensor.numel() for tensor in blocks.start.values())
    numbers = blocks.targets.numel() + blocks.encoded.numel()
    return 4 * (numbers + 2 * (1 + 2) * n_trained)


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
