"""Images that are filled tile by tile and written whole, or as a preview."""

import logging
import math
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from miner.images.encode import check_writable_format, save_array
from miner.images.pixel_format import PixelFormat, errors_about, mebibytes, new_array
from miner.signals.regions import Region, sides_of, slices
from miner.signals.scratch import Scratch, n_bytes
from miner.support.errors import ImageError, NoSpaceError
from miner.support.files import atomic_write, is_disk_full

logger = logging.getLogger(__name__)


class PixelCanvas:
    """The pixels of an image to be written, in the bit depth and channels of its format.

    Above `max_pixels` pixels it is a preview, smaller by a power of two in which each pixel is the
    mean of those it replaces.
    """

    def __init__(
        self,
        format: PixelFormat,
        height_px: int,
        width_px: int,
        scratch: Scratch,
        max_pixels: float = math.inf,
    ) -> None:
        # raises ImageError if there is no space for the pixels or `max_pixels` is below 1
        self._format = format
        self._factor = preview_factor(height_px, width_px, max_pixels)
        self._sides = max(1, height_px // self._factor), max(1, width_px // self._factor)
        with errors_about("the image to be written"):
            shape = (*self._sides, format.channels)
            self._array = new_array(scratch, "rendered", shape, format.dtype)

    def fill(self, region: Region, unit: NDArray[np.float32]) -> None:
        """Set a region to (C, h, w), clipped to [0, 1]; regions may come in any order.

        Those of a preview begin at multiples of its factor. Raises `ImageError` if the shape does
        not fit or a value is NaN.
        """
        if unit.shape != (self._format.channels, *sides_of(region)):
            raise ImageError(
                f"pixels of shape {unit.shape} for {region}: give (channels, height, width), "
                f"with the {self._format.channels} channels of the format"
            )
        if self._factor > 1:
            top, left = (first // self._factor for first, _ in region)
            height, width = self._sides
            unit = _shrink(unit, self._factor)[:, : height - top, : width - left]
            region = ((top, top + unit.shape[1]), (left, left + unit.shape[2]))
        self._array[slices(region)] = self._format.from_unit(unit.transpose(1, 2, 0))

    def save(self, path: Path) -> Path:
        """Write the image as its suffix demands, whole or not at all; makes the folder.

        .png, .jpg, .webp, .avif, .tif (tiled), .exr or .npy. JPEG, WebP and AVIF lose detail, and
        the libraries of the last two hold the whole image in memory. Raises `ImageError` if the
        suffix does not suit the image or the file cannot be written.
        """
        import pyvips

        check_writable_format(path, self._format, *self._sides)
        if self._factor > 1:
            logger.warning("%s is a preview at 1/%d of the size", path, self._factor)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as scratch_path:
                save_array(scratch_path, path.suffix, self._array, self._format.interpretation)
        except (OSError, pyvips.Error) as error:
            raise _explained(error, path, n_bytes(self._array.shape, self._array.dtype)) from error
        return path


def _explained(error: Exception, path: Path, size: int) -> ImageError:
    """Say what kept a file of about `size` bytes from being written."""
    reason = " ".join(str(error).split())
    is_full = isinstance(error, OSError) and is_disk_full(error)
    if not is_full and "No space left" not in reason:  # libvips' errors have no number
        remedy = "check its folder and the free space"
        return ImageError(f"{str(path)!r} cannot be written ({reason}): {remedy}")
    free = mebibytes(shutil.disk_usage(path.parent).free)
    return NoSpaceError(
        f"{str(path)!r} cannot be written (No space left): it may take {mebibytes(size)} and "
        f"{free} are free; check its folder, free some space and try again"
    )


def preview_factor(height_px: int, width_px: int, max_pixels: float) -> int:
    """Least power of two by which to divide both sides, to leave `max_pixels` pixels or fewer."""
    if max_pixels < 1:
        raise ImageError(f"max_pixels={max_pixels}: a preview needs 1 pixel or more")
    factor = 1
    while max(1, height_px // factor) * max(1, width_px // factor) > max_pixels:
        factor *= 2
    return factor


def _shrink(pixels: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Average (C, H, W) over squares of `factor` pixels; an incomplete last one is dropped."""
    channels, height_px, width_px = pixels.shape
    rows, columns = min(factor, height_px), min(factor, width_px)
    complete = pixels[:, : height_px // rows * rows, : width_px // columns * columns]
    squares = complete.reshape(channels, height_px // rows, rows, width_px // columns, columns)
    mean: NDArray[np.float32] = squares.mean(axis=(2, 4))
    return mean
