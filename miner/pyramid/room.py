"""Where a run's signals lie: on the device that works on them while they fit, else in scratch."""

import math
from typing import Protocol

import numpy as np
import torch

from miner.pyramid.ahead import read_ahead
from miner.pyramid.raster import ArrayRaster, Raster, TensorRaster, UploadedRaster, WritableRaster
from miner.regions import tile_side, tiles
from miner.scratch import Scratch

HELD_ON_DEVICE = 2**31
"""Bytes of signals that may lie in a GPU's memory at once, in all."""

_BYTES = 4


class Room(Protocol):
    """Makes the signals of a run."""

    @property
    def device(self) -> torch.device:
        """Where what is read lies."""

    def new(self, name: str, n_channels: int, sides: tuple[int, ...]) -> WritableRaster:
        """A signal of which nothing is known yet; `name` is its own within this room."""

    def remove(self, name: str) -> None:
        """Give back a signal's space; it must not be used any more."""

    def brought(self, name: str, signal: Raster) -> Raster:
        """A signal that lies elsewhere, to be read here."""


class RasterRoom:
    """Makes the signals of a run, which are read and written as tensors of one device.

    On the CPU all lie in scratch. On another device they are tensors there, as long as all of them
    together take no more than `held_bytes`; the others lie in scratch and are uploaded and
    downloaded region by region.
    """

    def __init__(
        self, device: torch.device, scratch: Scratch, held_bytes: int = HELD_ON_DEVICE
    ) -> None:
        """Take the device, and where arrays lie that it does not hold."""
        self.device, self._scratch = device, scratch
        self._free = 0 if device.type == "cpu" else held_bytes
        self._held: dict[str, int] = {}

    def new(self, name: str, n_channels: int, sides: tuple[int, ...]) -> WritableRaster:
        """A signal of which nothing is known yet; `name` is its own within this room.

        Raises:
            OSError: the disk is full.
        """
        shape = (n_channels, *sides)
        if self._fits(shape):
            self._held[name] = _BYTES * math.prod(shape)
            self._free -= self._held[name]
            return TensorRaster(torch.empty(shape, device=self.device))
        return ArrayRaster(self._scratch.array(name, shape, np.float32), self.device)

    def remove(self, name: str) -> None:
        """Give back a signal's space; it must not be used any more."""
        if name in self._held:
            self._free += self._held.pop(name)
        else:
            self._scratch.remove(name)

    def brought(self, name: str, signal: Raster) -> Raster:
        """A signal that lies elsewhere: copied to the device if it fits, else read from there."""
        if signal.device == self.device:
            return signal
        if not self._fits((signal.n_channels, *signal.sides)):
            return UploadedRaster(signal, self.device)
        held = self.new(name, signal.n_channels, signal.sides)
        side = tile_side(self.device.type, signal.n_channels)
        regions = list(tiles(signal.sides, side))
        uploaded = read_ahead(UploadedRaster(signal, self.device), regions)
        for region, values in zip(regions, uploaded, strict=True):
            held.write(region, values)
        return held

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return _BYTES * math.prod(shape) <= self._free
