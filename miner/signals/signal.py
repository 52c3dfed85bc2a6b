"""Signals that are read region by region, in memory, in files or on a device."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from miner.signals.regions import Region, slices
from miner.signals.scratch import WritableArray

CPU = torch.device("cpu")
_N_READERS = 4
ReadRegion = Callable[[Region], Tensor | NDArray[Any]]


class Signal(ABC):
    """A signal `(C, *sides)` that is read as tensors on one device."""

    def __init__(self, n_channels: int, sides: Sequence[int], device: torch.device = CPU) -> None:
        self.n_channels, self.sides, self.device = n_channels, tuple(sides), device

    @abstractmethod
    def read(self, region: Region) -> Tensor:
        """A copy of the values in a region, `(C, *S)` float32, on the signal's device."""


class WritableSignal(Signal):
    """A signal that is also written region by region."""

    @abstractmethod
    def write(self, region: Region, values: Tensor) -> None:
        """Replace the values in a region by `(C, *S)`, given on the signal's device."""


class ArraySignal(WritableSignal):
    """A signal in a float32 array `(C, *S)`: in memory, in a file, or a tensor on its device."""

    def __init__(self, array: WritableArray | Tensor, device: torch.device = CPU) -> None:
        device = array.device if isinstance(array, Tensor) else device
        super().__init__(array.shape[0], array.shape[1:], device)
        self._array = array

    def read(self, region: Region) -> Tensor:
        """A copy of the values, uploaded."""
        values = self._array[(slice(None), *slices(region))]
        return torch.asarray(values, copy=True).to(self.device)

    def write(self, region: Region, values: Tensor) -> None:
        """Copy the values, downloaded unless the array is a tensor."""
        source: Any = values if isinstance(self._array, Tensor) else values.cpu().numpy()
        self._array[(slice(None), *slices(region))] = source


class SourceSignal(Signal):
    """A signal that a function reads, float32 `(C, *S)` in a region: from a file, or elsewhere."""

    def __init__(
        self, read: ReadRegion, n_channels: int, sides: Sequence[int], device: torch.device = CPU
    ) -> None:
        super().__init__(n_channels, sides, device)
        self._read = read

    def read(self, region: Region) -> Tensor:
        """What the function gives, uploaded."""
        return torch.as_tensor(self._read(region)).to(self.device)


def prefetch(signal: Signal, regions: Iterable[Region]) -> Iterator[Tensor]:
    """The values in each region, in order; on a GPU read by threads a few regions in advance."""
    if signal.device.type != "cuda":  # the CPU's cores are busy
        yield from map(signal.read, regions)
        return
    with ThreadPoolExecutor(_N_READERS) as executor:
        waiting: deque[Future[Tensor]] = deque()
        try:
            for region in regions:
                waiting.append(executor.submit(signal.read, region))
                if len(waiting) > _N_READERS:
                    yield waiting.popleft().result()
            yield from (future.result() for future in waiting)
        finally:
            executor.shutdown(cancel_futures=True)
