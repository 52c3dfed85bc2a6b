"""Stores of the signals of a pyramid: in one process, or shared by several."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from miner.signals.regions import TILE_SIDE, Region, overlap, sides_of, slices, tiles
from miner.signals.scratch import TILE, Scratch, n_bytes
from miner.signals.signal import ArraySignal, Signal, SourceSignal, WritableSignal, prefetch
from miner.support.files import atomic_write, wait_for_file

HELD_ON_DEVICE = 2**31  # bytes of signals that a GPU's memory may hold at once
_DEVICE_TILE_SIDE, _DEVICE_TILE_VALUES = 2048, 2**24  # small tiles leave a GPU idle
_VALUES = "values"  # the tensor in the file of a tile


@dataclass(eq=False)
class SignalStore(ABC):
    """Makes the signals of a run, all read on one device."""

    device: torch.device
    tile_side: int | None = field(default=None, kw_only=True)

    def tile_side_for(self, n_channels: int) -> int:
        """Pixels along a side of a tile: those given, else what suits the device."""
        if self.tile_side or self.device.type == "cpu":
            return self.tile_side or TILE_SIDE
        return min(_DEVICE_TILE_SIDE, max(TILE_SIDE, isqrt(_DEVICE_TILE_VALUES // n_channels)))

    @abstractmethod
    def new(self, name: str, n_channels: int, sides: tuple[int, ...]) -> WritableSignal:
        """A signal of undefined values with a new name; raises `OSError` if the disk is full."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Free a signal's space; it must not be used any more."""

    def to_device(self, name: str, signal: Signal) -> Signal:
        """A signal that is read on the store's device, uploaded if it is elsewhere."""
        if signal.device == self.device:
            return signal
        return SourceSignal(signal.read, signal.n_channels, signal.sides, self.device)


@dataclass(eq=False)
class LocalSignalStore(SignalStore):
    """The signals of a single process, in scratch.

    Those of another device than the CPU are tensors there as long as `held_bytes` hold them all.
    """

    scratch: Scratch
    held_bytes: int = HELD_ON_DEVICE
    _held: dict[str, int] = field(default_factory=dict, init=False)

    def new(self, name: str, n_channels: int, sides: tuple[int, ...]) -> WritableSignal:
        """A tensor if it fits, else in scratch."""
        shape = (n_channels, *sides)
        if not self._fits(shape):
            return ArraySignal(self.scratch.array(name, shape, np.float32), self.device)
        self._held[name] = n_bytes(shape, np.float32)
        return ArraySignal(torch.empty(shape, device=self.device))

    def remove(self, name: str) -> None:
        """Free the memory or the disk space."""
        if self._held.pop(name, None) is None:
            self.scratch.remove(name)

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
        free = self.held_bytes - sum(self._held.values())
        return self.device.type != "cpu" and n_bytes(shape, np.float32) <= free


class SharedSignal(WritableSignal):
    """A signal in files, one for each tile, which one process writes and all processes read.

    All tiles have one size but for those at the far edges; `path` is how the files' paths begin.
    The processes synchronise between writing and reading.
    """

    def __init__(
        self, path: Path, n_channels: int, sides: tuple[int, ...], device: torch.device
    ) -> None:
        super().__init__(n_channels, sides, device)
        self._path = path
        self._tile_sides: tuple[int, ...] | None = None

    def write(self, region: Region, values: Tensor) -> None:
        """Write one tile `(C, *S)`, whole or not at all."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = save({_VALUES: values.cpu().contiguous()})
        with atomic_write(self._file([first for first, _ in region])) as scratch:
            scratch.write_bytes(content)

    def read(self, region: Region) -> Tensor:
        """The values, from all tiles that overlap; raises `OSError` if one is missing."""
        if self._tile_sides is None:
            self._tile_sides = self._open((0,) * len(self.sides)).get_shape()[1:]
        values = torch.empty((self.n_channels, *sides_of(region)))
        axes = [
            [(first, first + side) for first in range(low // side * side, high, side)]
            for (low, high), side in zip(region, self._tile_sides, strict=True)
        ]
        for tile in itertools.product(*axes):
            common = overlap(region, tile)
            part = self._open([first for first, _ in tile])[(slice(None), *slices(common, tile))]
            values[(slice(None), *slices(common, region))] = part
        return values.to(self.device)

    def _file(self, corner: Sequence[int]) -> Path:
        return self._path.with_name(f"{self._path.name}-{'-'.join(map(str, corner))}{TILE}")

    def _open(self, corner: Sequence[int]) -> Any:
        path = wait_for_file(self._file(corner))
        opened: Any = safe_open(path, "pt")  # whose methods have no types
        return opened.get_slice(_VALUES)


@dataclass(eq=False)
class SharedSignalStore(SignalStore):
    """The signals of several processes in a folder, of which one, the writer, removes files."""

    folder: Path
    is_writer: bool

    def new(self, name: str, n_channels: int, sides: tuple[int, ...]) -> SharedSignal:
        """A signal without files."""
        return SharedSignal(self.folder / name, n_channels, sides, self.device)

    def remove(self, name: str) -> None:
        """Remove the files, once all processes have synchronised after reading them."""
        if self.is_writer:
            for path in self.folder.glob(f"{name}-*{TILE}"):
                path.unlink(missing_ok=True)
