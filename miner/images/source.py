"""An image to fit: from a file, or from the samples by `sample:NAME`."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.crop import middle_box
from miner.images.decode import decode, log_conversions, normalise, open_header
from miner.images.errors import ImageError
from miner.images.limits import check_size
from miner.images.locate import find_file
from miner.images.pixel_format import PixelFormat, PixelType
from miner.images.samples import SAMPLE_PREFIX, load_sample

__all__ = ["ImageError", "ImageInfo", "PixelFormat", "SourceImage", "inspect_image", "open_image"]

_DTYPES: dict[str, PixelType] = {"uchar": "uint8", "ushort": "uint16", "float": "float32"}


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
    """An image in memory, with what is needed to write it as its file was."""

    name: str  # the file's name without its suffix, or the sample's
    pixels: NDArray[np.float32]  # (C, H, W) in [0, 1], C-contiguous
    format: PixelFormat
    sha256: str  # of the file's bytes; of the pixels for a sample


def inspect_image(path: str, max_pixels: int, crop_px: int | None = None) -> ImageInfo:
    """Read the header of a file, or of `sample:NAME`, without decoding its pixels.

    With `crop_px` the size is that of its middle, as `open_image` gives it.

    Raises `ImageError` for a path or content that `open_image` refuses, damage to the pixels
    excepted.
    """
    if path.startswith(SAMPLE_PREFIX):
        name, pixels = _read_sample(path, max_pixels)
        channels, height_px, width_px = pixels.shape
        size = middle_box(width_px, height_px, crop_px)[2:]
        return ImageInfo(name, *size, channels, "uint8")
    file = find_file(path)
    image = normalise(open_header(file, max_pixels)).autorot()
    size = middle_box(image.width, image.height, crop_px)[2:]
    return ImageInfo(file.stem, *size, image.bands, _DTYPES[image.format])


def open_image(path: str, max_pixels: int, crop_px: int | None = None) -> SourceImage:
    """Decode a file (`~` is expanded), or `sample:NAME`, to (C, H, W) in [0, 1].

    The format is told by the content: PNG, JPEG, TIFF, WebP, AVIF or GIF. Values are kept as
    stored: ICC profiles are not applied and alpha is one more channel, not multiplied in.
    Palettes and 1-bit values are expanded to 8 bits; signed, 32- and 64-bit integers and float64
    are read as float32; CMYK and Lab are converted to sRGB. Of several pages the first is read.
    EXIF orientation is applied. Floats outside [0, 1] are mapped from their range. With `crop_px`
    only the middle of the image is read, at most that many pixels a side.

    Raises `ImageError` if the path names no readable local file, the content is damaged or of an
    unknown format, has more than `max_pixels` pixels, or holds NaN or infinite values.
    """
    if path.startswith(SAMPLE_PREFIX):
        name, pixels = _read_sample(path, max_pixels)
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        left, top, width, height = middle_box(pixels.shape[2], pixels.shape[1], crop_px)
        middle = pixels[:, top : top + height, left : left + width]
        return _source_image(Path(name), middle, digest)
    file = find_file(path)
    image = open_header(file, max_pixels)
    log_conversions(file, image)
    pixels = decode(file, image, crop_px)
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return _source_image(file, pixels, sha256)


def _read_sample(path: str, max_pixels: int) -> tuple[str, NDArray[np.uint8]]:
    """Give a sample's name and its (C, H, W) pixels."""
    name = path.removeprefix(SAMPLE_PREFIX)
    pixels = np.atleast_3d(load_sample(name)).transpose(2, 0, 1)
    check_size(path, pixels.shape[2], pixels.shape[1], max_pixels)
    return name, pixels


def _source_image(file: Path, pixels: NDArray[Any], sha256: str) -> SourceImage:
    low, high = float(pixels.min()), float(pixels.max())  # NaN if any value is NaN
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ImageError(
            f"{str(file)!r} holds NaN or infinite values (min {low}, max {high}): every value "
            "must be finite in float32; replace them, say with 0"
        )
    dtype: PixelType = pixels.dtype.name  # type: ignore[assignment]
    format = PixelFormat.of_values(dtype, len(pixels), low, high)
    return SourceImage(file.stem, format.to_unit(pixels), format, sha256)
