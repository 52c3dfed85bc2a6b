"""What a device can do at most: bytes copied and products summed in a second, measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from gpu_clock import median_ms

REPEATS = 10


@dataclass(frozen=True)
class Ceilings:
    """Bytes per second, read and written, and operations per second in the two precisions."""

    copy: float
    float32: float
    tf32: float


def measure(device: torch.device, n_bytes: int, side: int) -> Ceilings:
    """Copy `n_bytes` and multiply two matrices of `side` squared random numbers."""
    return Ceilings(
        copy=_copied(device, n_bytes),
        float32=_multiplied(device, side, "highest"),
        tf32=_multiplied(device, side, "high"),
    )


def _copied(device: torch.device, n_bytes: int) -> float:
    source = torch.zeros(n_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    ms = median_ms(device, lambda: target.copy_(source), REPEATS)
    return 2 * n_bytes / ms * 1e3


def _multiplied(device: torch.device, side: int, precision: str) -> float:
    one, two = (torch.randn(side, side, device=device) for _ in range(2))
    product = torch.empty_like(one)
    with _matmul_precision(precision):
        ms = median_ms(device, lambda: torch.mm(one, two, out=product), REPEATS)
    return 2 * side**3 / ms * 1e3


@contextmanager
def _matmul_precision(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
