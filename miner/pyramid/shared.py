"""Signals that several processes make and read: a file for each tile, in a folder that all see."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miner.files import await_file, written_whole
from miner.pyramid.raster import Raster, UploadedRaster
from miner.regions import Region, sides_of
from miner.scratch import TILE

_HEAD, _VALUE = np.dtype("<i8"), np.dtype("<f4")


class SharedRaster:
    """A signal whose tiles are written by one process each and read by any.

    Tiles are of one size but for those at the far edges. A tile is read when all processes have met
    after it was written; files that a network disk shows late are waited for.
    """

    def __init__(
        self, path: Path, n_channels: int, sides: tuple[int, ...], device: torch.device
    ) -> None:
        """Take the beginning of the files' paths, the shape, and where values are wanted."""
        self._path, self.device = path, device
        self.n_channels, self.sides = n_channels, sides
        self._tile_sides: tuple[int, ...] | None = None

    def write(self, region: Region, values: Tensor) -> None:
        """Write one tile `(C, *S)`, whole or not at all.

        Raises:
            OSError: the disk is full.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        path = self._file(tuple(first for first, _ in region))
        tile = values.cpu().numpy()
        head = np.array(tile.shape, _HEAD).tobytes()
        with written_whole(path) as scratch:
            scratch.write_bytes(head + tile.astype(_VALUE).tobytes())

    def read(self, region: Region) -> Tensor:
        """The values in a region, from the parts of the tiles that lie in it.

        Raises:
            OSError: a tile's file is not to be seen from here.
        """
        if self._tile_sides is None:
            self._tile_sides = self._open((0,) * len(self.sides)).shape[1:]
        values = np.empty((self.n_channels, *sides_of(region)), np.float32)
        axes = [
            range(low // side * side, high, side)
            for (low, high), side in zip(region, self._tile_sides, strict=True)
        ]
        for corner in itertools.product(*axes):
            tile = self._open(corner)
            shared = [
                (max(low, first), min(high, first + side))
                for (low, high), first, side in zip(region, corner, tile.shape[1:], strict=True)
            ]
            target = _within(shared, [low for low, _ in region])
            values[target] = tile[_within(shared, corner)]
        return torch.from_numpy(values).to(self.device)

    def _file(self, corner: tuple[int, ...]) -> Path:
        return self._path.with_name(f"{self._path.name}-{'-'.join(map(str, corner))}{TILE}")

    def _open(self, corner: tuple[int, ...]) -> NDArray[np.float32]:
        """A tile, mapped for the moment of a read.

        Its head holds the lengths of its axes: that of an `.npy` file is Python, which
        version 3.11 cannot parse in several threads at once.
        """
        path = await_file(self._file(corner))
        n_axes = 1 + len(self.sides)
        shape = np.fromfile(path, _HEAD, count=n_axes).tolist()
        return np.memmap(path, _VALUE, "r", _HEAD.itemsize * n_axes, tuple(shape))


def _within(box: Sequence[tuple[int, int]], first: Sequence[int]) -> tuple[slice, ...]:
    """A box as an index of an array `(C, *S)` that begins at a pixel."""
    pairs = zip(box, first, strict=True)
    return (slice(None), *(slice(low - start, high - start) for (low, high), start in pairs))


class SharedRoom:
    """Makes the signals of a run of several processes; one of them keeps the folder."""

    def __init__(self, device: torch.device, folder: Path, is_keeper: bool) -> None:
        """Take the device that values are wanted on, and a folder that all processes see."""
        self.device, self._folder, self._is_keeper = device, folder, is_keeper

    def new(self, name: str, n_channels: int, sides: tuple[int, ...]) -> SharedRaster:
        """A signal of which nothing is known yet; `name` is its own within this room."""
        return SharedRaster(self._folder / name, n_channels, sides, self.device)

    def remove(self, name: str) -> None:
        """Give back a signal's space, when all have met after they last read it."""
        if self._is_keeper:
            for path in self._folder.glob(f"{name}-*{TILE}"):
                path.unlink(missing_ok=True)

    def brought(self, name: str, signal: Raster) -> Raster:
        """A signal that every process reads by itself."""
        is_here = signal.device == self.device
        return signal if is_here else UploadedRaster(signal, self.device)
