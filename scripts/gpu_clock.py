"""Time what a device does: by its own events on CUDA, by the wall clock on a CPU."""

import statistics
import time
from collections.abc import Callable

import torch


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
