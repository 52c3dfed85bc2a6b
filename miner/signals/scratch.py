"""Large arrays of a run, in memory or in files that are removed when the run ends."""

import math
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

IN_MEMORY_BYTES = 2**28  # larger arrays go to files
TILE = ".tile"  # suffix of files with one tile of a signal
Index = tuple[slice, ...]
Create = Callable[[Path, tuple[int, ...], DTypeLike], Any]
"""Maps a new file, whose suffix it adds to the path."""


class ArrayFile:
    """An array in a file that is mapped only while it is accessed: mapped pages count as memory."""

    def __init__(self, mapped: Any) -> None:
        self.path = Path(mapped.filename)
        self.shape: tuple[int, ...] = mapped.shape
        self.dtype: np.dtype[Any] = mapped.dtype
        self._offset = mapped.offset
        self._order: Literal["C", "F"] = "C" if mapped.flags.c_contiguous else "F"

    def __getitem__(self, index: Index) -> NDArray[Any]:
        return np.array(self._mapped("r")[index])

    def __setitem__(self, index: Index, values: Any) -> None:
        self._mapped("r+")[index] = values

    def _mapped(self, mode: Literal["r", "r+"]) -> NDArray[Any]:
        """Skips the header, which Python 3.11 cannot parse in several threads at once."""
        return np.memmap(self.path, self.dtype, mode, self._offset, self.shape, self._order)


WritableArray = NDArray[Any] | ArrayFile


def open_npy(path: Path) -> ArrayFile:
    """An `.npy` file; `ValueError` for one that is damaged, cut, or would have to be unpickled."""
    return ArrayFile(np.load(path, mmap_mode="r", allow_pickle=False))


def create_npy(stem: Path, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
    """Map a new `.npy` file."""
    path = stem.with_name(f"{stem.name}.npy")
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


class Scratch:
    """Makes arrays in files below a folder, or in memory where the folder is None.

    Entering and leaving a `with` statement removes the folder, with files of an earlier run.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def array(
        self, name: str, shape: Sequence[int], dtype: DTypeLike, create: Create = create_npy
    ) -> WritableArray:
        """A new array of undefined values, whose file `create` maps; `OSError` for a full disk."""
        if self._folder is None:
            return np.empty(tuple(shape), dtype)
        self._folder.mkdir(parents=True, exist_ok=True)
        mapped = create(self._folder / name, tuple(shape), dtype)
        made = ArrayFile(mapped)
        if hasattr(os, "posix_fallocate"):  # else, on macOS, the disk may fill while it is written
            with made.path.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, made.path.stat().st_size)
        return made

    def remove(self, name: str) -> None:
        """Free an array's disk space, if it has any; it must not be used any more."""
        if self._folder is not None:
            (self._folder / f"{name}.npy").unlink(missing_ok=True)

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
    patterns = "*.npy*", "*.tif*", f"*{TILE}*"
    return [path for pattern in patterns for path in folder.rglob(pattern)]


def n_bytes(shape: Sequence[int], dtype: DTypeLike) -> int:
    """Size of an array."""
    return math.prod(shape) * np.dtype(dtype).itemsize
