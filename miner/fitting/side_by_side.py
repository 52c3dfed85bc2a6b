"""Work on several groups of blocks at once, where one alone leaves a GPU idle."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

_ON_A_GPU = 8


def n_side_by_side(device: torch.device, n_items: int) -> int:
    """How many of so many items are worked on at once: one on a CPU, which each of them fills."""
    return min(n_items, _ON_A_GPU) if device.type == "cuda" else 1


def map_side_by_side(
    device: torch.device, function: Callable[[T], R], items: Sequence[T]
) -> list[R]:
    """The function's results for all items, in their order.

    On a GPU each item has a thread and a stream, which begins when all that was asked of the GPU
    before is done, and ends when its own work is. What the function takes from elsewhere it must
    not change. The first exception is raised when what had begun has ended.
    """
    n_threads = n_side_by_side(device, len(items))
    if n_threads <= 1:
        return [function(item) for item in items]
    torch.cuda.synchronize(device)

    def on_its_stream(item: T) -> R:
        stream = torch.cuda.Stream(device)
        with torch.cuda.stream(stream):
            result = function(item)
        stream.synchronize()
        return result

    with ThreadPoolExecutor(n_threads) as threads:
        futures = [threads.submit(on_its_stream, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()


def one_at_a_time(function: Callable[[int], None]) -> Callable[[int], None]:
    """The function, never called by two threads at once."""
    lock = Lock()

    def called(number: int) -> None:
        with lock:
            function(number)

    return called
