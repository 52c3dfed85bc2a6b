"""Memory, threads and timing of the device that computes, and fits that run together."""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import zip_longest
from threading import Lock
from typing import Any, TypeVar

import torch
from torch import Tensor

from miner.support.errors import ConfigError

T = TypeVar("T")
R = TypeVar("R")
Checks = Generator[None, None, R]  # a fit, which stops at each check of the pruning criterion
_LOG = logging.getLogger(__name__)
_SHARE_OF_FREE = 0.8  # the rest is for short-lived tensors
_THREADS_ON_GPU = 8


def run_fit(fit: Checks[R], at_check: Callable[[], None] = lambda: None) -> R:
    """Run a fit; call a function at each check, and at the end."""
    results: list[R] = []
    for _ in _ended(fit, results.append):
        at_check()
    at_check()
    return results[0]


def in_step(fits: Sequence[Checks[R]]) -> Checks[list[R]]:
    """Run fits together from check to check; the others go on when one has ended."""
    results: dict[int, R] = {}
    kept = [_ended(fit, partial(results.__setitem__, n)) for n, fit in enumerate(fits)]
    yield from (None for _ in zip_longest(*kept))
    return [results[number] for number in range(len(fits))]


def _ended(fit: Checks[R], keep: Callable[[R], None]) -> Checks[None]:
    keep((yield from fit))


class ComputeDevice:
    """The device that fits blocks, its memory, and the threads that use it."""

    def __init__(
        self, device: torch.device, limit_gib: float, n_threads: int | None = None
    ) -> None:
        self.device, self._limit_gib = device, limit_gib
        self._n_threads = n_threads or (_THREADS_ON_GPU if device.type == "cuda" else 1)
        self._n_running = 1  # threads that share the memory
        self.lock = Lock()  # for what threads share
        self._share = 1.0  # of the blocks that should fit

    def memory_gib(self) -> float:
        """The memory that a thread may take."""
        if self.device.type != "cuda":
            return self._limit_gib / self._n_running
        free, _ = torch.cuda.mem_get_info(self.device)
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return min(self._limit_gib, _SHARE_OF_FREE * (free + kept) / 2**30) / self._n_running

    def in_batches(
        self, members: Tensor, max_blocks: int, start: Callable[[Tensor], Checks[T]]
    ) -> Iterator[tuple[Tensor, T]]:
        """Batches of `max_blocks` and the fit of each; half as many if memory runs out."""
        while len(members):
            batch = members[: max(1, round(self._share * max_blocks))]
            try:
                yield batch, run_fit(start(batch))
                members = members[len(batch) :]
                continue
            except torch.OutOfMemoryError as error:
                if len(batch) == 1:
                    raise ConfigError(
                        f"fitting.max_memory_gib={self._limit_gib:g}: {max_blocks} blocks at once "
                        f"should fit, but on {self.device} memory runs out for one; end what else "
                        "uses it, or take a smaller patch_size or model.width, or the CPU"
                    ) from error
            # Here and not in the handler: its traceback holds what the attempt had allocated.
            n_blocks = len(batch) // 2
            self._share = min(self._share, n_blocks / max_blocks)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            message = "%s: %d blocks at once do not fit into memory; going on with %d"
            _LOG.warning(message, self.device, len(batch), n_blocks)

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """The function's results for all items, in order, computed by threads with CUDA streams."""
        n_threads = min(len(items), self._n_threads)
        if n_threads <= 1:
            return [function(item) for item in items]
        torch.cuda.synchronize(self.device)

        def in_stream(item: T) -> R:
            stream = torch.cuda.Stream(self.device)
            with torch.cuda.stream(stream):
                result = function(item)
            stream.synchronize()
            return result

        self._n_running = n_threads
        try:  # an exception is raised when the items that had started have ended
            with ThreadPoolExecutor(n_threads) as threads:
                return list(threads.map(in_stream, items))
        finally:
            self._n_running = 1


def mark_time(device: torch.device) -> Any:
    """The moment at which all work so far is done; on a GPU nothing waits for it."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def seconds_since_first(marks: Sequence[Any]) -> list[float]:
    """Seconds from the first mark to each of the others; waits for the last."""
    first, *others = marks
    if isinstance(first, float):
        return [mark - first for mark in others]
    others[-1].synchronize()
    return [first.elapsed_time(mark) / 1e3 for mark in others]
