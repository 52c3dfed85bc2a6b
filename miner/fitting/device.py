"""Memory, streams, timing and transfers of the device that computes."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Protocol, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

_LOG = logging.getLogger(__name__)


_SHARE_OF_FREE = 0.8  # the rest is for what lasts a moment


class BlockTooLargeError(RuntimeError):
    """Not even one block fits into memory; the message says what to change."""


class MemoryBudget:
    """The memory of a device for the blocks in computation.

    It is limited by a setting and by what is free. Where it runs out all the same, half as many
    blocks are tried again, and no more from then on.
    """

    def __init__(self, device: torch.device, limit_gib: float) -> None:
        """Take the device, and how many GiB blocks may take there."""
        self.device, self._limit_gib = device, limit_gib
        self._share = 1.0

    def gib(self, n_users: int) -> float:
        """What each of so many that compute at the same time may take."""
        if self.device.type != "cuda":
            return self._limit_gib / n_users
        free, _ = torch.cuda.mem_get_info(self.device)
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return min(self._limit_gib, _SHARE_OF_FREE * (free + kept) / 2**30) / n_users

    def in_parts(
        self, members: Tensor, most: int, compute: Callable[[Tensor], T]
    ) -> Iterator[tuple[Tensor, T]]:
        """Parts of some blocks, at most so many at once, and what is computed of each.

        Raises:
            BlockTooLargeError: memory runs out for a single block.
        """
        while len(members):
            part = members[: max(1, round(self._share * most))]
            try:
                result = compute(part)
            except torch.OutOfMemoryError as error:
                if len(part) == 1:
                    raise self._too_large(most) from error
            else:
                yield part, result
                members = members[len(part) :]
                continue
            # Here and not in the handler: its traceback holds what the attempt had allocated.
            self._halve(len(part), most)

    def _halve(self, tried: int, most: int) -> None:
        self._share = min(self._share, (tried // 2) / most)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        _LOG.warning(
            "%s: %d blocks at once do not fit into memory; going on with %d",
            self.device,
            tried,
            tried // 2,
        )

    def _too_large(self, most: int) -> BlockTooLargeError:
        return BlockTooLargeError(
            f"fitting.max_memory_gib={self._limit_gib:g}: {most} blocks at once should fit, but on "
            f"{self.device} memory runs out for one; end what else uses it, or take a smaller "
            "patch_size or model.width, or the CPU"
        )


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


class Timer(Protocol):
    """Begins when it is made."""

    def mark(self) -> None:
        """Note the moment at which everything asked for so far is done."""

    def seconds(self) -> list[float]:
        """Seconds from the beginning to each mark."""


class HostTimer:
    """For a device that does what it is asked for before it answers."""

    def __init__(self) -> None:
        """Begin."""
        self._began = time.perf_counter()
        self._seconds: list[float] = []

    def mark(self) -> None:
        """Note the present moment."""
        self._seconds.append(time.perf_counter() - self._began)

    def seconds(self) -> list[float]:
        """Seconds from the beginning to each mark."""
        return self._seconds


class CudaTimer:
    """Events in a device's present stream: no mark waits for the device."""

    def __init__(self, device: torch.device) -> None:
        """Begin."""
        self._device = device
        self._events: list[torch.cuda.Event] = []
        self.mark()

    def mark(self) -> None:
        """Note the moment at which the stream comes here."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        self._events.append(event)

    def seconds(self) -> list[float]:
        """Seconds from the beginning to each mark; waits for the last."""
        first, *marks = self._events
        self._events[-1].synchronize()
        return [first.elapsed_time(mark) / 1e3 for mark in marks]


def make_timer(device: torch.device) -> Timer:
    """One for a device's work."""
    return CudaTimer(device) if device.type == "cuda" else HostTimer()


def from_device(found: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of any lengths `(B,)` on the CPU, in one transfer."""
    if not found:
        return []
    joined = torch.cat(list(found)).cpu()
    return [part.clone() for part in joined.split([len(part) for part in found])]


def as_numbers(sums: Sequence[Tensor]) -> list[float]:
    """Tensors `()` as numbers, in one transfer."""
    return torch.stack(list(sums)).tolist() if sums else []
