"""Large arrays of a run, in memory or in files that are removed when the run ends."""

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

IN_MEMORY_BYTES = 2**28  # larger arrays go to files
TILE = ".tile"  # suffix of files with one tile of a signal
Index = tuple[slice, ...]


class ArrayLike(Protocol):
    """What is read box by box: a NumPy array, an array in a file, a Zarr array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along each axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    def __getitem__(self, index: Index, /) -> Any: ...


class WritableArray(ArrayLike, Protocol):
    """What is written box by box, too."""

    def __setitem__(self, index: Index, values: Any, /) -> None: ...


class NpyFile:
    """An array in an `.npy` file, mapped only while it is accessed: mapped pages count as memory.

    Raises `ValueError` if the file is damaged, cut short, or would have to be unpickled.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        mapped: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        self.shape: tuple[int, ...] = mapped.shape
        self.dtype: np.dtype[Any] = mapped.dtype
        self._offset = mapped.offset
        self._order: Literal["C", "F"] = "C" if mapped.flags.c_contiguous else "F"

    @classmethod
    def create(cls, path: Path, shape: Sequence[int], dtype: DTypeLike) -> Self:
        """Make a file; raises `OSError` if the disk has no space for all of it."""
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=tuple(shape))
        with path.open("r+b") as stream:
            _reserve(stream.fileno(), array.offset, path.stat().st_size)
        return cls(path)

    def __getitem__(self, index: Index) -> NDArray[Any]:
        return np.array(self._mapped("r")[index])

    def __setitem__(self, index: Index, values: Any) -> None:
        self._mapped("r+")[index] = values

    def _mapped(self, mode: Literal["r", "r+"]) -> NDArray[Any]:
        """Skips the header, which Python 3.11 cannot parse in several threads at once."""
        return np.memmap(self.path, self.dtype, mode, self._offset, self.shape, self._order)


class Scratch:
    """Makes arrays in files below a folder, or in memory where the folder is None.

    Entering and leaving a `with` statement removes the folder, with files of an earlier run.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def array(self, name: str, shape: Sequence[int], dtype: DTypeLike) -> WritableArray:
        """A new array of undefined values; raises `OSError` if the disk is full."""
        if self._folder is None:
            return np.empty(tuple(shape), dtype)
        self._folder.mkdir(parents=True, exist_ok=True)
        return NpyFile.create(self._folder / f"{name}.npy", shape, dtype)

    def remove(self, name: str) -> None:
        """Free an array's disk space; it must not be used any more."""
        if self._folder is not None:
            (self._folder / f"{name}.npy").unlink()

    def clear(self) -> None:
        """Remove all arrays, and the folder unless it has other files."""
        if self._folder is not None and self._folder.is_dir():
            for path in scratch_files(self._folder):
                path.unlink(missing_ok=True)
            with suppress(OSError):  # another process may be removing it, too
                for path in (*self._folder.iterdir(), self._folder):
                    path.rmdir()

    def __enter__(self) -> Self:
        self.clear()
        return self

    def __exit__(self, *exception: object) -> None:
        self.clear()


def scratch_files(folder: Path) -> list[Path]:
    """Arrays and tiles below a folder, complete or partly written."""
    return [path for pattern in ("*.npy*", f"*{TILE}*") for path in folder.rglob(pattern)]


def n_bytes(shape: Sequence[int], dtype: DTypeLike) -> int:
    """Size of an array."""
    return math.prod(shape) * np.dtype(dtype).itemsize


def _reserve(descriptor: int, header: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    step = 2**24  # macOS has no posix_fallocate: write zeros
    for first in range(header, size, step):
        os.pwrite(descriptor, bytes(min(step, size - first)), first)
