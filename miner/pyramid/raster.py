"""Signals that are read region by region, wherever their values lie."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miner.pyramid.prediction import halo, predict
from miner.regions import Region, sides_of, slices
from miner.scratch import WritableArray

HOST = torch.device("cpu")
"""Where what does not lie on a GPU lies."""


class Raster(Protocol):
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


class WritableRaster(Raster, Protocol):
    """A signal that is made region by region."""

    def write(self, region: Region, values: Tensor) -> None:
        """Replace the values in a region by `(C, *S)`, which lie on the raster's device."""


class ArrayRaster:
    """A signal in an array `(C, *S)`, in memory or in a file."""

    def __init__(self, array: WritableArray, device: torch.device = HOST) -> None:
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


class TensorRaster:
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


class SourceRaster:
    """A signal that something else reads, such as an image's file."""

    device = HOST

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


class UploadedRaster:
    """A signal that lies elsewhere: each region is uploaded when it is read."""

    def __init__(self, signal: Raster, device: torch.device) -> None:
        """Take the signal, and where its values are wanted."""
        self._signal, self.device = signal, device
        self.n_channels, self.sides = signal.n_channels, signal.sides

    def read(self, region: Region) -> Tensor:
        """The values in a region."""
        return self._signal.read(region).to(self.device)


class ZeroRaster:
    """What is known before anything is fitted."""

    def __init__(
        self, n_channels: int, sides: tuple[int, ...], device: torch.device = HOST
    ) -> None:
        """Take its shape, and where its zeros are to lie."""
        self.n_channels, self.sides, self.device = n_channels, sides, device

    def read(self, region: Region) -> Tensor:
        """Zeros."""
        return torch.zeros(self.n_channels, *sides_of(region), device=self.device)


class ExpandedRaster:
    """The prediction of a level: the coarser one expanded, region by region."""

    def __init__(self, coarser: Raster, sides: tuple[int, ...]) -> None:
        """Take the next coarser level and the sides of the level that it predicts."""
        self._coarser, self.sides = coarser, sides
        self.n_channels, self.device = coarser.n_channels, coarser.device

    def read(self, region: Region) -> Tensor:
        """The same bits in any region."""
        around = halo(region, self._coarser.sides)
        first = tuple(low for low, _ in around)
        return predict(self._coarser.read(around), first, region)
