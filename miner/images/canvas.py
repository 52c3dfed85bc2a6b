"""An image that is filled piece by piece and then written as a file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from miner.files import is_disk_full, written_whole
from miner.images.errors import ImageError, NoSpaceError
from miner.images.pixel_format import PixelFormat
from miner.images.save import save_array
from miner.images.space import mebibytes, new_array
from miner.images.writable import check_writable_format
from miner.regions import Region, sides_of, slices
from miner.scratch import Scratch, n_bytes


class PixelCanvas:
    """The pixels of an image to be written, in the bit depth and channels of its format."""

    def __init__(
        self,
        format: PixelFormat,
        height_px: int,
        width_px: int,
        scratch: Scratch,
        name: str = "rendered",
    ) -> None:
        """Take room for an image in a scratch array of that name; its pixels may be anything yet.

        Raises:
            ImageError: there is no room for it.
        """
        self._format, self._sides = format, (height_px, width_px)
        shape = (height_px, width_px, format.channels)
        self._array = new_array(scratch, name, shape, format.dtype)

    def fill(self, region: Region, unit: NDArray[np.float32]) -> None:
        """Set a region to (C, h, w), clipped to [0, 1]; regions may come in any order.

        Raises:
            ImageError: the shape does not fit, or a value is NaN.
        """
        if unit.shape != (self._format.channels, *sides_of(region)):
            raise ImageError(
                f"pixels of shape {unit.shape} for {region}: give (channels, height, width), "
                f"with the {self._format.channels} channels of the format"
            )
        self._array[slices(region)] = self._format.from_unit(unit.transpose(1, 2, 0))

    def save(self, path: Path) -> Path:
        """Write the image, in the kind of file that the suffix names; gives the path.

        .png, .jpg, .webp, .avif, .tif (tiled), .exr or .npy; see `check_writable_format`. JPEG,
        WebP and AVIF lose detail, and the libraries of the last two hold the whole image in
        memory. The file appears whole or not at all; its folder is made.

        Raises:
            ImageError: the suffix does not suit the image, or the file cannot be written.
        """
        check_writable_format(path, self._format, *self._sides)
        with _explained(path, n_bytes(self._array.shape, self._array.dtype)):
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as scratch_path:
                suffix = path.suffix.lower()
                save_array(scratch_path, suffix, self._array, self._format.interpretation)
        return path


@contextmanager
def _explained(path: Path, size: int) -> Iterator[None]:
    """Say in a line what kept a file of about `size` bytes from being written."""
    import pyvips

    try:
        yield
    except (OSError, pyvips.Error) as error:
        reason = " ".join(str(error).split())
        is_full = isinstance(error, OSError) and is_disk_full(error)
        if is_full or "No space left" in reason:  # libvips' errors have no number
            free = shutil.disk_usage(path.parent).free
            raise NoSpaceError(
                f"{str(path)!r} cannot be written (No space left): it may take {mebibytes(size)} "
                f"and {mebibytes(free)} are free; check its folder, free some space and try again"
            ) from error
        raise ImageError(
            f"{str(path)!r} cannot be written ({reason}): check its folder and the free space"
        ) from error
