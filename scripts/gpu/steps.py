"""Time the steps of a backend against the floors of the device, and against plain PyTorch."""

import statistics
import time
from collections.abc import Callable
from functools import cache
from typing import NamedTuple, cast

import torch
from gpu.blocks import prepared

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.readout import ClosedFormReadout
from miner.fitting.steps import BlockProblem
from miner.models.network import BlockMLP

WARM_UPS = 2
MOST_EAGER_BLOCKS = 4096  # PyTorch keeps all layers of all of them


class Ceilings(NamedTuple):
    """Bytes per second, read and written, and operations per second in the two precisions."""

    copy: float
    float32: float
    tf32: float


def timed(
    backend: Backend, blocks: BlockProblem, n_steps: int, repeats: int, ceilings: Ceilings
) -> dict[str, float]:
    """Milliseconds of a step of all blocks, `n_steps` in each launch, and the floors."""
    n_blocks = len(blocks.targets)
    n_eager = min(n_blocks, MOST_EAGER_BLOCKS)
    start = {name: tensor[:n_eager] for name, tensor in blocks.start.items()}
    few = blocks._replace(targets=blocks.targets[:n_eager], start=start)
    first_ms, step_ms = step_times(backend, blocks, n_steps, repeats)
    eager_ms = step_times(EagerBackend(), few, n_steps, repeats)[1] * n_blocks / n_eager
    n_operations = operations(blocks) * n_blocks
    arithmetic_ms = 1e3 * n_operations / ceilings.float32
    bytes_ms = 1e3 * bytes_per_launch(blocks) / n_steps / ceilings.copy
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


def step_times(
    backend: Backend, blocks: BlockProblem, n_steps: int, repeats: int
) -> tuple[float, float]:
    """Milliseconds of the first launch, which may compile, and of a step in a later one."""
    device = blocks.targets.device
    steps = prepared(backend, blocks).trainer(blocks)
    first_ms = milliseconds(device, lambda: steps.advance(n_steps))
    return first_ms, median_ms(device, lambda: steps.advance(n_steps), repeats) / n_steps


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


def median_ms(device: torch.device, action: Callable[[], object], repeats: int = 10) -> float:
    """Median time of a call, after some that do not count."""
    for _ in range(WARM_UPS):
        action()
    return statistics.median(milliseconds(device, action) for _ in range(repeats))


@cache
def measure_ceilings(device: torch.device) -> Ceilings:
    """Copy bytes and multiply two matrices of random numbers, once in a process."""
    n_bytes, side = (4 * 2**30, 8192) if device.type == "cuda" else (2**20, 64)
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
    return Ceilings(copy, *rates)


def operations(blocks: BlockProblem) -> int:
    """The least that one step of one block computes, a multiply-add counting as two.

    Only the definition's products count, at the network's own widths; sines, the optimizer's update
    and the solution of the readout's system are extra. A Gram matrix is symmetric and counts once.
    """
    mlp = cast(BlockMLP, blocks.network.model)
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
