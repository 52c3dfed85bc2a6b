"""A picture that is filled tile by tile and written."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from miner.images.encode import check_writable_format, save_array
from miner.images.pixel_format import PixelFormat
from miner.signals.regions import Region, sides_of, slices, whole
from miner.signals.scratch import Scratch, WritableArray, n_bytes
from miner.support.errors import ImageError, NoSpaceError
from miner.support.files import atomic_write, is_disk_full


def new_array(scratch: Scratch, name: str, shape: Sequence[int], dtype: DTypeLike) -> WritableArray:
    """An array of which nothing is known yet; see `Scratch.array`.

    Raises:
        ImageError: the memory or the disk has no room for it.
    """
    try:
        return scratch.array(name, shape, dtype)
    except OSError as error:
        raise NoSpaceError(_no_room(n_bytes(shape, dtype), str(error.strerror))) from None
    except MemoryError:
        raise ImageError(_no_room(n_bytes(shape, dtype), "not enough memory")) from None


def _no_room(size: int, reason: str) -> str:
    return (
        f"no room for {mebibytes(size)} of pixels ({reason}): free as much, "
        "or put the run's folder on another disk"
    )


def mebibytes(size: int) -> str:
    """A number of bytes for people to read, rounded up."""
    return f"{-(-size // 2**20)} MiB"


def preview_factor(height_px: int, width_px: int, max_pixels: int) -> int:
    """Least power of two that brings the size to `max_pixels` or fewer, when both sides are
    divided by it (an incomplete last pixel dropped, but one is kept).

    Raises:
        ImageError: `max_pixels` is below 1.
    """
    if max_pixels < 1:
        raise ImageError(f"max_pixels={max_pixels}: a preview needs 1 pixel or more")
    factor = 1
    while max(1, height_px // factor) * max(1, width_px // factor) > max_pixels:
        factor *= 2
    return factor


def shrink(pixels: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Average (C, H, W) over squares of `factor` pixels; an incomplete last one is dropped."""
    channels, height_px, width_px = pixels.shape
    rows, columns = min(factor, height_px), min(factor, width_px)
    height_px, width_px = height_px // rows, width_px // columns
    complete = pixels[:, : height_px * rows, : width_px * columns]
    squares = complete.reshape(channels, height_px, rows, width_px, columns)
    mean: NDArray[np.float32] = squares.mean(axis=(2, 4))
    return mean


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
            with atomic_write(path) as scratch_path:
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


logger = logging.getLogger(__name__)


class ReportImage:
    """An image of any size, filled tile by tile, that becomes a PNG.

    It becomes a TIFF if float32 or of more than 4 channels, and above `max_pixels` pixels a
    preview, smaller by a power of two, each pixel the mean of those it replaces.
    """

    def __init__(
        self,
        path: Path,
        format: PixelFormat,
        sides: tuple[int, int],
        scratch: Scratch,
        max_pixels: int = 2**28,
    ) -> None:
        """Take room for (height, width) pixels; the suffix of `path` (.png, .tif or none) is set.

        Raises:
            ImageError: there is no room, or `max_pixels` is below 1.
        """
        is_png = format.dtype != "float32" and format.channels <= 4
        stem = path.stem if path.suffix.lower() in (".png", ".tif") else path.name
        self._path = path.with_name(stem + (".png" if is_png else ".tif"))
        self._factor = preview_factor(*sides, max_pixels)
        height_px, width_px = (max(1, side // self._factor) for side in sides)
        self._sides = height_px, width_px
        self._canvas = PixelCanvas(format, *self._sides, scratch)

    def fill(self, tile: Region, unit: NDArray[np.float32]) -> None:
        """Set a tile to (C, h, w), clipped to [0, 1].

        Tiles begin at multiples of the preview's factor.

        Raises:
            ImageError: the shape does not fit, or a value is NaN.
        """
        if self._factor == 1:
            self._canvas.fill(tile, unit)
            return
        small = shrink(unit, self._factor)
        corner = [first // self._factor for first, _ in tile]
        place = tuple(
            (first, min(first + n, side))
            for first, n, side in zip(corner, small.shape[1:], self._sides, strict=True)
        )
        rows, columns = sides_of(place)
        if rows > 0 and columns > 0:  # nothing is left of a narrow last tile
            self._canvas.fill(place, small[:, :rows, :columns])

    def save(self) -> Path:
        """Write the file, whole or not at all; its folder is made.

        Raises:
            ImageError: the file cannot be written.
        """
        if self._factor > 1:
            logger.warning(
                "%s is a preview at 1/%d of the size: image too large", self._path, self._factor
            )
        return self._canvas.save(self._path)


def write_image(
    path: Path, pixels: NDArray[np.float32], format: PixelFormat, max_pixels: int = 2**28
) -> Path:
    """Write (C, H, W) in [0, 1], as `ReportImage` does; gives the path written.

    Raises `ImageError` if the shape does not fit `format`, a value is NaN, `max_pixels` is below
    1, or the file cannot be written.
    """
    if pixels.ndim != 3 or len(pixels) != format.channels or pixels.size == 0:
        raise ImageError(
            f"pixels of shape {pixels.shape}: give (channels, height, width), "
            f"with the {format.channels} channels of the format"
        )
    sides = pixels.shape[1], pixels.shape[2]
    image = ReportImage(path, format, sides, Scratch(None), max_pixels)
    image.fill(whole(sides), pixels)
    return image.save()
