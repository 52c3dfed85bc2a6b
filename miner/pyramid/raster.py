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


class Raster(Protocol):
    """A signal `(C, *sides)`."""

    @property
    def sides(self) -> tuple[int, ...]:
        """Pixels along each axis."""

    @property
    def n_channels(self) -> int:
        """Channels C."""

    def read(self, region: Region) -> Tensor:
        """The values in a region, `(C, *S)` float32, that nobody else holds."""


class ArrayRaster:
    """A signal in an array `(C, *S)`, in memory or in a file."""

    def __init__(self, array: WritableArray) -> None:
        """Take an array of float32."""
        self._array = array
        self.n_channels, *sides = array.shape
        self.sides = tuple(sides)

    def read(self, region: Region) -> Tensor:
        """A copy of the values in a region."""
        return torch.from_numpy(np.array(self._array[(slice(None), *slices(region))]))

    def write(self, region: Region, values: Tensor) -> None:
        """Replace the values in a region by `(C, *S)`."""
        self._array[(slice(None), *slices(region))] = values.numpy()


class SourceRaster:
    """A signal that something else reads, such as an image's file."""

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


class ZeroRaster:
    """What is known before anything is fitted."""

    def __init__(self, n_channels: int, sides: tuple[int, ...]) -> None:
        """Take its shape."""
        self.n_channels, self.sides = n_channels, sides

    def read(self, region: Region) -> Tensor:
        """Zeros."""
        return torch.zeros(self.n_channels, *sides_of(region))


class ExpandedRaster:
    """The prediction of a level: the coarser one expanded, region by region."""

    def __init__(self, coarser: Raster, sides: tuple[int, ...]) -> None:
        """Take the next coarser level and the sides of the level that it predicts."""
        self._coarser, self.sides = coarser, sides
        self.n_channels = coarser.n_channels

    def read(self, region: Region) -> Tensor:
        """The same bits in any region."""
        around = halo(region, self._coarser.sides)
        first = tuple(low for low, _ in around)
        return predict(self._coarser.read(around), first, region)
