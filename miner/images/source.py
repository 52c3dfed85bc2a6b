"""Any image file as a source of regions."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.arrays import open_array
from miner.images.checks import finite_range
from miner.images.files import SAMPLE_PREFIX, find_file, load_sample, open_file
from miner.images.pixel_format import DecodedImage, Orientation, PixelFormat, PixelType
from miner.signals.regions import Region, sides_of, slices, whole
from miner.signals.scratch import ArrayLike, Scratch
from miner.support.errors import ImageError


def middle_box(width_px: int, height_px: int, crop_px: int | None) -> tuple[int, int, int, int]:
    """Left, top, width and height of the middle, at most `crop_px` pixels a side; None is all."""
    width, height = (
        side if crop_px is None else min(side, crop_px) for side in (width_px, height_px)
    )
    return (width_px - width) // 2, (height_px - height) // 2, width, height


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Of a folder: of the names below it, in order, each with the digest of its file.

    Raises:
        OSError: a file cannot be read.
    """
    path = path.absolute()
    if not path.is_dir():
        return _of_file(path, *_state(path))
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        name = file.relative_to(path).as_posix().encode(errors="surrogateescape")
        digest.update(name + b"\0" + _of_file(file, *_state(file)).encode() + b"\n")
    return digest.hexdigest()


def _state(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=1024)
def _of_file(file: Path, modified_ns: int, n_bytes: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


__all__ = ["ImageError", "ImageInfo", "PixelFormat", "SourceImage", "inspect_image", "open_image"]

_IN_MEMORY = Scratch(None)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageInfo:
    """What a header tells: the size upright, channels and values as `open_image` gives them."""

    name: str  # the file's name without its suffix, or the sample's
    width_px: int
    height_px: int
    channels: int
    dtype: PixelType


@dataclass(frozen=True, eq=False)
class SourceImage:
    """An image that is read region by region, with what is needed to write it as its file was."""

    name: str  # the file's name without its suffix, or the sample's
    format: PixelFormat
    sha256: str  # of the file's bytes, of all of a Zarr folder's files, or of a sample's pixels
    sides: tuple[int, int]  # height and width, upright and cropped
    stored: ArrayLike  # (h, w, C) in the file's type, before it is turned upright
    orientation: Orientation

    @property
    def n_channels(self) -> int:
        """Channels C."""
        return self.format.channels

    def read(self, region: Region) -> NDArray[np.float32]:
        """Values in a region, (C, h, w) in [0, 1], C-contiguous, that nobody else holds.

        May be called from several threads at once.
        """
        values = _upright(self.stored, self.orientation, self.sides, region)
        return self.format.to_unit(values.transpose(2, 0, 1))

    @property
    def pixels(self) -> NDArray[np.float32]:
        """All of a small image, (C, H, W) in [0, 1], computed at each call."""
        return self.read(whole(self.sides))


def inspect_image(path: str, max_pixels: int, crop_px: int | None = None) -> ImageInfo:
    """Read the header of a file, or of `sample:NAME`, without decoding its pixels.

    With `crop_px` the size is that of its middle, as `open_image` gives it.

    Raises `ImageError` for a path or content that `open_image` refuses, damage to the pixels
    excepted.
    """
    picture = _open(path, max_pixels)
    (top, bottom), (left, right) = _middle(picture, crop_px)
    size = right - left, bottom - top
    return ImageInfo(picture.file.stem, *size, picture.n_channels, picture.dtype)


def open_image(
    path: str, max_pixels: int, crop_px: int | None = None, scratch: Scratch = _IN_MEMORY
) -> SourceImage:
    """Open a file (`~` is expanded), a Zarr array's folder, or `sample:NAME`.

    The format is told by the content: PNG, JPEG, TIFF, WebP, AVIF, GIF, OpenEXR, `.npy` or Zarr.
    Values are kept as stored: ICC profiles are not applied and alpha is one more channel, not
    multiplied in (the colours of a TIFF with associated alpha are divided by it). Palettes and
    1-bit values are expanded to 8 bits; signed, 32- and 64-bit integers, float16 and float64 are
    read as float32; CMYK and Lab are converted to sRGB. Of several pages or parts the first is
    read. EXIF orientation is applied. Floats outside [0, 1] are mapped from their range. With
    `crop_px` only the middle of the image is read, at most that many pixels a side.

    A scratch folder receives the decoded pixels, so that memory does not grow with the image
    (but interlaced PNG, progressive JPEG, WebP, AVIF and GIF are decoded whole by their
    libraries); without one they lie in memory. Arrays are read where they are.

    Raises `ImageError` if the path names no readable local file, the content is damaged or of an
    unknown format, has more than `max_pixels` pixels, holds NaN or infinite values, or finds no
    room.
    """
    picture = _open(path, max_pixels)
    for remark in picture.remarks:
        logger.warning("%r %s", str(picture.file), remark)
    box = _middle(picture, crop_px)
    sides = sides_of(box)
    height, width = sides
    stored_box = picture.orientation.stored(box, picture.orientation.upright_sides(picture.sides))
    try:
        stored = picture.load(stored_box, scratch)
        low, high = _range(picture, stored, (height, width))
        digest = _digest(path, picture)
    except OSError as error:  # a disk that fails, a file that goes away
        raise ImageError(
            f"{path!r} cannot be read ({error.strerror}): check the disk and try again"
        ) from None
    format = PixelFormat.of_values(picture.dtype, picture.n_channels, low, high)
    return SourceImage(
        picture.file.stem, format, digest, (height, width), stored, picture.orientation
    )


def _open(path: str, max_pixels: int) -> DecodedImage:
    if path.startswith(SAMPLE_PREFIX):
        name = path.removeprefix(SAMPLE_PREFIX)
        return open_array(Path(name), np.atleast_3d(load_sample(name)), max_pixels)
    try:
        return open_file(find_file(path), max_pixels)
    except OSError as error:
        raise ImageError(
            f"{path!r} cannot be read ({error.strerror}): check the disk and try again"
        ) from None


def _middle(picture: DecodedImage, crop_px: int | None) -> Region:
    """The part of the upright image that is read."""
    height, width = picture.orientation.upright_sides(picture.sides)
    left, top, n_columns, n_rows = middle_box(width, height, crop_px)
    return (top, top + n_rows), (left, left + n_columns)


def _upright(
    stored: ArrayLike, orientation: Orientation, sides: tuple[int, int], region: Region
) -> NDArray[Any]:
    """A region of the upright image, (h, w, C) as stored."""
    return orientation.upright(stored[slices(orientation.stored(region, sides))])


def _range(picture: DecodedImage, stored: ArrayLike, sides: tuple[int, int]) -> tuple[float, float]:
    if picture.dtype != "float32":
        return 0.0, 1.0

    def read(region: Region) -> NDArray[Any]:
        return _upright(stored, picture.orientation, sides, region)

    return finite_range(str(picture.file), read, sides, picture.n_channels)


def _digest(path: str, picture: DecodedImage) -> str:
    if not path.startswith(SAMPLE_PREFIX):
        return file_digest(picture.file)
    pixels = np.atleast_3d(load_sample(path.removeprefix(SAMPLE_PREFIX)))
    return hashlib.sha256(pixels.transpose(2, 0, 1).tobytes()).hexdigest()
