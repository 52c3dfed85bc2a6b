"""Signals that are read region by region, wherever their values lie."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miner.signals.regions import Region, slices
from miner.signals.scratch import WritableArray

CPU = torch.device("cpu")
"""Where what does not lie on a GPU lies."""


class Signal(Protocol):
    """A signal `(C, *sides)`."""

    @property
    def sides(self) -> tuple[int, ...]:
        """Pixels along each axis."""

    @property
    def n_channels(self) -> int:
        """Channels C."""

    @property
    def device(self) -> torch.device:
        """Where what is read lies."""

    def read(self, region: Region) -> Tensor:
        """The values in a region, `(C, *S)` float32, that nobody else holds."""


class WritableSignal(Signal, Protocol):
    """A signal that is made region by region."""

    def write(self, region: Region, values: Tensor) -> None:
        """Replace the values in a region by `(C, *S)`, which lie on the raster's device."""


class ArraySignal:
    """A signal in an array `(C, *S)`, in memory or in a file."""

    def __init__(self, array: WritableArray, device: torch.device = CPU) -> None:
        """Take an array of float32, and where its values are wanted."""
        self._array, self.device = array, device
        self.n_channels, *sides = array.shape
        self.sides = tuple(sides)

    def read(self, region: Region) -> Tensor:
        """A copy of the values in a region."""
        values = np.array(self._array[(slice(None), *slices(region))])
        return torch.from_numpy(values).to(self.device)

    def write(self, region: Region, values: Tensor) -> None:
        """Replace the values in a region by `(C, *S)`."""
        self._array[(slice(None), *slices(region))] = values.cpu().numpy()


class TensorSignal:
    """A signal in a tensor `(C, *S)`, on any device."""

    def __init__(self, values: Tensor) -> None:
        """Take the tensor, which is written to."""
        self._values, self.device = values, values.device
        self.n_channels, *sides = values.shape
        self.sides = tuple(sides)

    def read(self, region: Region) -> Tensor:
        """A copy of the values in a region."""
        return self._values[(slice(None), *slices(region))].clone()

    def write(self, region: Region, values: Tensor) -> None:
        """Replace the values in a region by `(C, *S)`."""
        self._values[(slice(None), *slices(region))].copy_(values)


class SourceSignal:
    """A signal that something else reads, such as an image's file."""

    device = CPU

    def __init__(
        self,
        read: Callable[[Region], NDArray[np.float32]],
        n_channels: int,
        sides: tuple[int, ...],
    ) -> None:
        """Take what reads a region, `(C, *S)`."""
        self._read, self.n_channels, self.sides = read, n_channels, sides

    def read(self, region: Region) -> Tensor:
        """The values in a region."""
        return torch.from_numpy(self._read(region))


class UploadedSignal:
    """A signal that lies elsewhere: each region is uploaded when it is read."""

    def __init__(self, signal: Signal, device: torch.device) -> None:
        """Take the signal, and where its values are wanted."""
        self._signal, self.device = signal, device
        self.n_channels, self.sides = signal.n_channels, signal.sides

    def read(self, region: Region) -> Tensor:
        """The values in a region."""
        return self._signal.read(region).to(self.device)


_READERS = {"cuda": 4}  # threads for each type of device; none where the CPU has to do it all


def prefetch(signal: Signal, regions: Iterable[Region]) -> Iterator[Tensor]:
    """The values in each region, in order; at most five regions are in memory at once."""
    n_readers = _READERS.get(signal.device.type, 0)
    if n_readers == 0:
        yield from map(signal.read, regions)
        return
    waiting: deque[Future[Tensor]] = deque()
    with ThreadPoolExecutor(n_readers) as readers:
        try:
            for region in regions:
                waiting.append(readers.submit(signal.read, region))
                if len(waiting) > n_readers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
