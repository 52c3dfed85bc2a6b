"""Time the steps of a backend against the floors of the device, and against plain PyTorch."""

import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from gpu.blocks import Case, Setup, Sizes, measure_cases, prepared
from gpu.journal import Journal
from rows import Value

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.readout import ClosedFormReadout
from miner.fitting.steps import BlockProblem

MOST_FLOORS = 4.0
TARGET = Case("closed_form", width=20)  # the reference's width and patches
WARM_UPS = 2
MOST_EAGER_BLOCKS = 4096  # PyTorch keeps all layers of all of them
EXPECTED_S = 20.0  # of one case, the kernel's compilation included


class Ceilings(NamedTuple):
    """Bytes per second, read and written, and operations per second in the two precisions."""

    copy: float
    float32: float
    tf32: float


def time_steps(setup: Setup, sizes: Sizes, copied_bytes: int, matrix_side: int) -> None:
    """A row for each ceiling, and for each shape and number of blocks."""
    ceilings = measure_ceilings(setup.device, copied_bytes, matrix_side, setup.journal)
    found: dict[Case, float] = {}

    def measure(case: Case, blocks: BlockProblem) -> None:
        shape: dict[str, Value] = {
            "backend": type(setup.backend).__name__, "readout": case.readout, "width": case.width,
            "depth": case.depth, "patch_size_px": case.patch_size, "channels": case.channels,
            "n_blocks": len(blocks.targets), "steps_per_launch": sizes.n_steps,
        }  # fmt: skip
        row = timed(setup.backend, blocks, sizes, ceilings)
        setup.journal.row("steps", shape | row)
        found[case] = row["times_floor"]  # the largest number of blocks is last

    n_steps = sizes.n_steps * (1 + WARM_UPS + sizes.repeats)
    measure_cases("steps", setup, sizes, n_steps, EXPECTED_S, measure)
    what = f"step over the larger floor, {TARGET}"
    setup.journal.target(what, f"at most {MOST_FLOORS:g}", found.get(TARGET), MOST_FLOORS)


def timed(
    backend: Backend, blocks: BlockProblem, sizes: Sizes, ceilings: Ceilings
) -> dict[str, float]:
    """Times of a step of all blocks, in milliseconds, and the floors."""
    n_blocks = len(blocks.targets)
    n_eager = min(n_blocks, MOST_EAGER_BLOCKS)
    start = {name: tensor[:n_eager] for name, tensor in blocks.start.items()}
    few = blocks._replace(targets=blocks.targets[:n_eager], start=start)
    first_ms, step_ms = step_times(backend, blocks, sizes)
    eager_ms = step_times(EagerBackend(), few, sizes)[1] * n_blocks / n_eager
    n_operations = operations(blocks) * n_blocks
    arithmetic_ms = 1e3 * n_operations / ceilings.float32
    bytes_ms = 1e3 * bytes_per_launch(blocks) / sizes.n_steps / ceilings.copy
    return {
        "first_launch_s": first_ms / 1e3,
        "step_ms": step_ms,
        "microseconds_per_block": 1e3 * step_ms / n_blocks,
        "tflop_per_s": n_operations / step_ms / 1e9,
        "eager_ms": eager_ms,
        "faster_than_eager": eager_ms / step_ms,
        "arithmetic_floor_ms": arithmetic_ms,
        "tf32_floor_ms": 1e3 * n_operations / ceilings.tf32,
        "bytes_floor_ms": bytes_ms,
        "times_floor": step_ms / max(arithmetic_ms, bytes_ms),
    }


def step_times(backend: Backend, blocks: BlockProblem, sizes: Sizes) -> tuple[float, float]:
    """Milliseconds of the first launch, which may compile, and of a step in a later one."""
    device = blocks.targets.device
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
    device: torch.device, action: Callable[[], object], repeats: int = 10, warm_ups: int = 2
) -> float:
    """Median time of a call, after some that do not count."""
    for _ in range(warm_ups):
        action()
    return statistics.median(milliseconds(device, action) for _ in range(repeats))


def measure_ceilings(device: torch.device, n_bytes: int, side: int, journal: Journal) -> Ceilings:
    """Copy `n_bytes` and multiply two matrices of `side` squared random numbers; a row for each."""
    source = torch.zeros(n_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = 2e3 * n_bytes / median_ms(device, lambda: target.copy_(source))
    one, two = (torch.randn(side, side, device=device) for _ in range(2))
    product = torch.empty_like(one)
    rates: list[float] = []
    before = torch.get_float32_matmul_precision()
    for precision in ("highest", "high"):
        torch.set_float32_matmul_precision(precision)
        rates.append(2e3 * side**3 / median_ms(device, lambda: torch.mm(one, two, out=product)))
    torch.set_float32_matmul_precision(before)
    ceilings = Ceilings(copy, *rates)
    names = ("copy, TB/s read and written", "float32 products, TFLOP/s", "tf32 products, TFLOP/s")
    for name, value in zip(names, ceilings, strict=True):
        journal.row("ceilings", {"what": name, "value": value / 1e12})
    return ceilings


def operations(blocks: BlockProblem) -> int:
    """The least that one step of one block computes, a multiply-add counting as two.

    Only the definition's products count, at the network's own widths; sines, the optimizer's update
    and the solution of the readout's system are extra. A Gram matrix is symmetric and counts once.
    """
    mlp = blocks.network.mlp
    H, C = mlp.width, blocks.network.n_channels
    inner = (mlp.depth - 1) * H * H
    layers = len(blocks.encoded) * H + inner
    backward = layers + inner + H * C  # weights, features between layers, last features
    # Solved for: Gram matrix, products with the targets. Trained: its gradient.
    is_solved = isinstance(blocks.readout, ClosedFormReadout)
    readout = H * (H + 1) // 2 + H * C if is_solved else H * C
    return 2 * blocks.targets.shape[-1] * (layers + H * C + readout + backward)


def bytes_per_launch(blocks: BlockProblem) -> int:
    """The least that one launch moves for all blocks, whatever the number of its steps.

    Targets and coordinates are read; parameters and both moments are read and written.
    """
    n_trained = sum(tensor.numel() for tensor in blocks.start.values())
    return 4 * (blocks.targets.numel() + blocks.encoded.numel() + 2 * (1 + 2) * n_trained)


def note_resources(journal: Journal, module: str = "miner.kernels.triton.programs") -> None:
    """A row for each of a module's programs that Triton compiled in this process."""
    programs = sys.modules.get(module)
    for program in ("train_blocks", "render_blocks"):
        caches = getattr(getattr(programs, program, None), "device_caches", {})
        for compiled in (each for cache in caches.values() for each in cache[0].values()):
            names, constants = compiled.src.fn.arg_names, compiled.src.constants
            sizes = (f"{names[at[0]]}={value}" for at, value in constants.items())
            row = {
                "program": program,
                "sizes": " ".join(sizes),
                "n_warps": compiled.metadata.num_warps,
                "n_registers": compiled.n_regs,
                "n_spills": compiled.n_spills,
                "shared_bytes": compiled.metadata.shared,
            }
            journal.row("kernels", row)
