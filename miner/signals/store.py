"""Stores of the signals of a pyramid: in one process, or shared by several."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miner.signals.regions import Region, sides_of, slices, tile_side, tiles
from miner.signals.scratch import TILE, Scratch, n_bytes
from miner.signals.signal import (
    ArraySignal,
    Signal,
    TensorSignal,
    UploadedSignal,
    WritableSignal,
    prefetch,
)
from miner.support.files import TIMEOUT_S, atomic_write, wait_for_file

HELD_ON_DEVICE = 2**31  # bytes of signals that a GPU's memory may hold at once
_HEADER, _VALUE = np.dtype("<i8"), np.dtype("<f4")


class SignalStore(ABC):
    """Makes the signals of a run, all read on one device."""

    def __init__(self, device: torch.device, tile_side: int | None = None) -> None:
        self.device, self._tile_side = device, tile_side

    def tile_side_for(self, n_channels: int) -> int:
        """Pixels along a side of a tile: those given, else what suits the device."""
        return self._tile_side or tile_side(self.device.type, n_channels)

    @abstractmethod
    def new(self, name: str, n_channels: int, sides: tuple[int, ...]) -> WritableSignal:
        """A signal with undefined values and a name that is unique in this store.

        Raises:
            OSError: the disk is full.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Free a signal's space; it must not be used any more."""

    def to_device(self, name: str, signal: Signal) -> Signal:
        """A signal that is read on the store's device, uploaded if it is elsewhere."""
        is_here = signal.device == self.device
        return signal if is_here else UploadedSignal(signal, self.device)


class LocalSignalStore(SignalStore):
    """The signals of a single process.

    On the CPU all are in scratch. On another device they are tensors, up to `held_bytes` in all;
    the rest are in scratch and are uploaded and downloaded region by region.
    """

    def __init__(
        self,
        device: torch.device,
        scratch: Scratch,
        held_bytes: int = HELD_ON_DEVICE,
        tile_side: int | None = None,
    ) -> None:
        super().__init__(device, tile_side)
        self._scratch = scratch
        self._free = 0 if device.type == "cpu" else held_bytes
        self._held: dict[str, int] = {}

    def new(self, name: str, n_channels: int, sides: tuple[int, ...]) -> WritableSignal:
        """A tensor if it fits, else in scratch."""
        shape = (n_channels, *sides)
        if not self._fits(shape):
            return ArraySignal(self._scratch.array(name, shape, np.float32), self.device)
        self._held[name] = n_bytes(shape, np.float32)
        self._free -= self._held[name]
        return TensorSignal(torch.empty(shape, device=self.device))

    def remove(self, name: str) -> None:
        """Free the memory or the disk space."""
        if name in self._held:
            self._free += self._held.pop(name)
        else:
            self._scratch.remove(name)

    def to_device(self, name: str, signal: Signal) -> Signal:
        """A copy on the device if it fits, else uploaded region by region."""
        uploaded = super().to_device(name, signal)
        if uploaded is signal or not self._fits((signal.n_channels, *signal.sides)):
            return uploaded
        held = self.new(name, signal.n_channels, signal.sides)
        regions = list(tiles(signal.sides, self.tile_side_for(signal.n_channels)))
        for region, values in zip(regions, prefetch(uploaded, regions), strict=True):
            held.write(region, values)
        return held

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return n_bytes(shape, np.float32) <= self._free


class SharedSignal(WritableSignal):
    """A signal in files, one for each tile, which one process writes and all processes read.

    All tiles have one size but for those at the far edges. The processes synchronise between
    writing and reading; files that a network disk shows late are waited for. `path` is the
    beginning of the files' paths.
    """

    def __init__(
        self,
        path: Path,
        n_channels: int,
        sides: tuple[int, ...],
        device: torch.device,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        super().__init__(n_channels, sides, device)
        self._path, self._timeout_s = path, timeout_s
        self._tile_sides: tuple[int, ...] | None = None

    def write(self, region: Region, values: Tensor) -> None:
        """Write one tile `(C, *S)`, whole or not at all."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        tile = values.cpu().numpy()
        header = np.array(tile.shape, _HEADER).tobytes()
        with atomic_write(self._file([first for first, _ in region])) as scratch:
            scratch.write_bytes(header + tile.astype(_VALUE).tobytes())

    def read(self, region: Region) -> Tensor:
        """The values in a region, from all tiles that overlap it.

        Raises:
            OSError: a tile's file is missing.
        """
        if self._tile_sides is None:
            self._tile_sides = self._open((0,) * len(self.sides)).shape[1:]
        values = np.empty((self.n_channels, *sides_of(region)), np.float32)
        axes = [
            range(low // side * side, high, side)
            for (low, high), side in zip(region, self._tile_sides, strict=True)
        ]
        for corner in itertools.product(*axes):
            pairs = list(zip(region, corner, strict=True))
            inside = tuple((max(low - first, 0), high - first) for (low, high), first in pairs)
            part = self._open(corner)[(slice(None), *slices(inside))]  # slices stop at the edge
            starts = [max(first - low, 0) for (low, _), first in pairs]
            target = [slice(n, n + side) for n, side in zip(starts, part.shape[1:], strict=True)]
            values[(slice(None), *target)] = part
        return torch.from_numpy(values).to(self.device)

    def _file(self, corner: Sequence[int]) -> Path:
        return self._path.with_name(f"{self._path.name}-{'-'.join(map(str, corner))}{TILE}")

    def _open(self, corner: Sequence[int]) -> NDArray[np.float32]:
        """A tile, mapped while it is read.

        Its header is the lengths of its axes: that of an `.npy` file is Python, which version 3.11
        cannot parse in several threads at once.
        """
        path = wait_for_file(self._file(corner), self._timeout_s)
        n_axes = 1 + len(self.sides)
        shape = np.fromfile(path, _HEADER, count=n_axes).tolist()
        return np.memmap(path, _VALUE, "r", _HEADER.itemsize * n_axes, tuple(shape))


class SharedSignalStore(SignalStore):
    """The signals of several processes in a folder, of which one, the writer, removes files."""

    def __init__(
        self,
        device: torch.device,
        folder: Path,
        is_writer: bool,
        tile_side: int | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        super().__init__(device, tile_side)
        self._folder, self._is_writer, self._timeout_s = folder, is_writer, timeout_s

    def new(self, name: str, n_channels: int, sides: tuple[int, ...]) -> SharedSignal:
        """A signal without files."""
        return SharedSignal(self._folder / name, n_channels, sides, self.device, self._timeout_s)

    def remove(self, name: str) -> None:
        """Remove the files, once all processes have synchronised after reading them."""
        if self._is_writer:
            for path in self._folder.glob(f"{name}-*{TILE}"):
                path.unlink(missing_ok=True)
