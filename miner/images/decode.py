"""Reading files through pyvips: a lazy header first, pixels on demand."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from miner.images.crop import middle_box
from miner.images.errors import ImageError
from miner.images.limits import check_size
from miner.images.wide_tiff import read_wide_tiff

if TYPE_CHECKING:
    import pyvips

_LOADERS = ("png", "jpeg", "tiff", "webp", "heif", "gif")  # libvips also draws SVG, text, ...
_COLOURS_KEPT = {"b-w", "grey16", "srgb", "rgb16", "scrgb", "rgb", "multiband"}
_FORMATS_KEPT = {"uchar", "ushort", "float"}
_UNKNOWN = "not in a known format"  # libvips' words

logger = logging.getLogger(__name__)


def open_header(file: Path, max_pixels: int) -> pyvips.Image:
    """Open the first page as a lazy pyvips image, as stored: no pixel is decoded yet.

    A TIFF of 64-bit values, which libvips cannot read, is the exception: it is decoded at once.
    Raises `ImageError` if the content is no supported image or has more than `max_pixels` pixels.
    """
    import pyvips

    try:
        # a descriptor, as pyvips reads "name[option]" as options and wants names in UTF-8
        with file.open("rb") as stream:
            source = pyvips.Source.new_from_descriptor(stream.fileno())
            # fail_on="truncated" lets a cut TIFF pass, "error" does not
            image = pyvips.Image.new_from_source(source, "", access="sequential", fail_on="error")
    except pyvips.Error as error:
        wide = None if _UNKNOWN in error.detail else read_wide_tiff(file, max_pixels)
        if wide is None:
            raise ImageError(_explain(file, error.detail)) from None
        return wide
    if not image.get("vips-loader").startswith(_LOADERS):
        raise ImageError(_unknown(file))
    check_size(str(file), image.width, image.height, max_pixels)
    return image


def normalise(image: pyvips.Image) -> pyvips.Image:
    """Bring a lazy image to uint8, uint16 or float32 values in grey, RGB or plain bands, lazily."""
    if image.interpretation not in _COLOURS_KEPT:
        image = image.colourspace("rgb16" if image.format == "ushort" else "srgb")
    return image if image.format in _FORMATS_KEPT else image.cast("float")


def log_conversions(file: Path, image: pyvips.Image) -> None:
    """Warn of what `normalise` changes, and of the pages that are left out."""
    n_pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if n_pages > 1:
        logger.warning("%r has %d pages or frames: only the first is read", str(file), n_pages)
    if image.interpretation not in _COLOURS_KEPT:
        logger.warning("%r is in %s: converted to sRGB", str(file), image.interpretation.upper())
    elif image.format not in _FORMATS_KEPT:
        logger.warning("%r holds %s values: read as float32", str(file), image.format)


def decode(file: Path, image: pyvips.Image, crop_px: int | None) -> NDArray[Any]:
    """Decode a lazy image to (C, H, W) of uint8, uint16 or float32, turned by its EXIF orientation.

    With `crop_px` only its middle, at most that many pixels a side.

    Raises `ImageError` if the file is damaged or cut short.
    """
    import pyvips

    try:
        image = normalise(image)
        if image.get_typeof("orientation") and image.get("orientation") != 1:
            # turning reads out of order, which a sequential decoder cannot give
            image = image.copy_memory().autorot()
        if crop_px is not None:
            image = image.crop(*middle_box(image.width, image.height, crop_px))
        pixels = np.atleast_3d(image.numpy())
    except pyvips.Error as error:
        raise ImageError(_explain(file, error.detail)) from None
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _explain(file: Path, detail: str) -> str:
    """Turn the several lines of a libvips error into one."""
    with file.open("rb") as stream:
        is_exr = stream.read(4) == b"\x76\x2f\x31\x01"
    if is_exr:
        return f"{str(file)!r} is an OpenEXR image, not supported yet: convert it to a float TIFF"
    if _UNKNOWN in detail:
        return _unknown(file)
    reason = next(filter(None, map(str.strip, detail.splitlines())), "unreadable header")
    return (
        f"{str(file)!r} cannot be decoded ({reason}): it is damaged, cut short or of an "
        "unusual kind; export it again as PNG or TIFF"
    )


def _unknown(file: Path) -> str:
    return (
        f"{str(file)!r} is not an image of a known format (PNG, JPEG, TIFF, WebP, AVIF, GIF): "
        "convert it to PNG or TIFF"
    )
