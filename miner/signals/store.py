"""Stores of the signals of a pyramid: in one process, or shared by several."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miner.signals.regions import Region, sides_of, tile_side, tiles
from miner.signals.scratch import TILE, Scratch
from miner.signals.signal import (
    ArraySignal,
    Signal,
    TensorSignal,
    UploadedSignal,
    WritableSignal,
    prefetch,
)
from miner.support.files import atomic_write, wait_for_file

HELD_ON_DEVICE = 2**31
"""Bytes of signals that may lie in a GPU's memory at once, in all."""

_BYTES = 4


class SignalStore(Protocol):
    """Makes the signals of a run."""

    @property
    def device(self) -> torch.device:
        """Where what is read lies."""

    def tile_side_for(self, n_channels: int) -> int:
        """Pixels along a side of a tile of a signal."""

    def new(self, name: str, n_channels: int, sides: tuple[int, ...]) -> WritableSignal:
        """A signal of which nothing is known yet; `name` is its own within this room."""

    def remove(self, name: str) -> None:
        """Give back a signal's space; it must not be used any more."""

    def to_device(self, name: str, signal: Signal) -> Signal:
        """A signal that lies elsewhere, to be read here."""


class LocalSignalStore:
    """Makes the signals of a run, which are read and written as tensors of one device.

    On the CPU all lie in scratch. On another device they are tensors there, as long as all of them
    together take no more than `held_bytes`; the others lie in scratch and are uploaded and
    downloaded region by region.
    """

    def __init__(
        self,
        device: torch.device,
        scratch: Scratch,
        held_bytes: int = HELD_ON_DEVICE,
        tile_side: int | None = None,
    ) -> None:
        """Take the device, and where arrays lie that it does not hold."""
        self.device, self._scratch, self._tile_side = device, scratch, tile_side
        self._free = 0 if device.type == "cpu" else held_bytes
        self._held: dict[str, int] = {}

    def tile_side_for(self, n_channels: int) -> int:
        """Pixels along a side of a tile: those given, else what suits the device."""
        return self._tile_side or tile_side(self.device.type, n_channels)

    def new(self, name: str, n_channels: int, sides: tuple[int, ...]) -> WritableSignal:
        """A signal of which nothing is known yet; `name` is its own within this room.

        Raises:
            OSError: the disk is full.
        """
        shape = (n_channels, *sides)
        if self._fits(shape):
            self._held[name] = _BYTES * math.prod(shape)
            self._free -= self._held[name]
            return TensorSignal(torch.empty(shape, device=self.device))
        return ArraySignal(self._scratch.array(name, shape, np.float32), self.device)

    def remove(self, name: str) -> None:
        """Give back a signal's space; it must not be used any more."""
        if name in self._held:
            self._free += self._held.pop(name)
        else:
            self._scratch.remove(name)

    def to_device(self, name: str, signal: Signal) -> Signal:
        """A signal that lies elsewhere: copied to the device if it fits, else read from there."""
        if signal.device == self.device:
            return signal
        if not self._fits((signal.n_channels, *signal.sides)):
            return UploadedSignal(signal, self.device)
        held = self.new(name, signal.n_channels, signal.sides)
        regions = list(tiles(signal.sides, self.tile_side_for(signal.n_channels)))
        uploaded = prefetch(UploadedSignal(signal, self.device), regions)
        for region, values in zip(regions, uploaded, strict=True):
            held.write(region, values)
        return held

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return _BYTES * math.prod(shape) <= self._free


_HEAD, _VALUE = np.dtype("<i8"), np.dtype("<f4")


class SharedSignal:
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
        with atomic_write(path) as scratch:
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
        path = wait_for_file(self._file(corner))
        n_axes = 1 + len(self.sides)
        shape = np.fromfile(path, _HEAD, count=n_axes).tolist()
        return np.memmap(path, _VALUE, "r", _HEAD.itemsize * n_axes, tuple(shape))


def _within(box: Sequence[tuple[int, int]], first: Sequence[int]) -> tuple[slice, ...]:
    """A box as an index of an array `(C, *S)` that begins at a pixel."""
    pairs = zip(box, first, strict=True)
    return (slice(None), *(slice(low - start, high - start) for (low, high), start in pairs))


class SharedSignalStore:
    """Makes the signals of a run of several processes; one of them keeps the folder."""

    def __init__(
        self, device: torch.device, folder: Path, is_keeper: bool, tile_side: int | None = None
    ) -> None:
        """Take the device that values are wanted on, and a folder that all processes see."""
        self.device, self._folder, self._is_keeper = device, folder, is_keeper
        self._tile_side = tile_side

    def tile_side_for(self, n_channels: int) -> int:
        """Pixels along a side of a tile: those given, else what suits the device."""
        return self._tile_side or tile_side(self.device.type, n_channels)

    def new(self, name: str, n_channels: int, sides: tuple[int, ...]) -> SharedSignal:
        """A signal of which nothing is known yet; `name` is its own within this room."""
        return SharedSignal(self._folder / name, n_channels, sides, self.device)

    def remove(self, name: str) -> None:
        """Give back a signal's space, when all have met after they last read it."""
        if self._is_keeper:
            for path in self._folder.glob(f"{name}-*{TILE}"):
                path.unlink(missing_ok=True)

    def to_device(self, name: str, signal: Signal) -> Signal:
        """A signal that every process reads by itself."""
        is_here = signal.device == self.device
        return signal if is_here else UploadedSignal(signal, self.device)
