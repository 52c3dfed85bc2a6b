"""Files decoded by libvips."""

import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from miner.images.pixel_format import (
    DAMAGED,
    OpenedFile,
    Orientation,
    PixelType,
    Read,
    new_array,
)
from miner.signals.regions import Region, sides_of
from miner.signals.scratch import ArrayFile, Scratch, n_bytes
from miner.support.errors import ImageError

if TYPE_CHECKING:
    import pyvips

_LOADERS = ("png", "jpeg", "webp", "heif", "gif")  # libvips also draws SVG, text, ...
_COLOURS_KEPT = {"b-w", "grey16", "srgb", "rgb16", "scrgb", "rgb", "multiband"}
_DTYPES: dict[str, PixelType] = {"uchar": "uint8", "ushort": "uint16", "float": "float32"}
_UNKNOWN = "not in a known format"
_PAGES = "pages or frames: only the first is read"

logging.getLogger("pyvips").setLevel(logging.CRITICAL)  # our errors report what matters


def open_vips_file(file: Path) -> OpenedFile:
    """Read the header of a file's first page; raises `ImageError` for unknown formats."""
    import pyvips

    try:
        # a descriptor, as pyvips reads "name[option]" as options and wants names in UTF-8
        with file.open("rb") as stream:
            source = pyvips.Source.new_from_descriptor(stream.fileno())
            image = pyvips.Image.new_from_source(source, "", access="sequential", fail_on="error")
        if not image.get("vips-loader").startswith(_LOADERS):
            raise _explained(_UNKNOWN)
        remarks = []
        orientation = image.get("orientation") if image.get_typeof("orientation") else 1
        n_pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
        if n_pages > 1:
            remarks.append(f"has {n_pages} {_PAGES}")
        if image.interpretation not in _COLOURS_KEPT:
            remarks.append(f"is in {image.interpretation.upper()}: converted to sRGB")
            image = image.colourspace("rgb16" if image.format == "ushort" else "srgb")
        elif image.format not in _DTYPES:
            remarks.append(f"holds {image.format} values: read as float32")
        if image.format not in _DTYPES:
            image = image.cast("float")
    except pyvips.Error as error:
        raise _explained(error.detail) from None
    turn = Orientation.of_exif(orientation)
    sides, dtype = turn.upright_sides((image.height, image.width)), _DTYPES[image.format]
    load = partial(_load, image)
    return OpenedFile(file.stem, sides, image.bands, dtype, load, turn, tuple(remarks))


def _load(image: "pyvips.Image", box: Region, scratch: Scratch) -> Read:
    """Decode a part of an image; into a scratch file a few rows at a time."""
    import pyvips

    (top, _), (left, _) = box
    height, width = sides_of(box)
    array = new_array(scratch, "image", (height, width, image.bands), _DTYPES[image.format])
    try:
        image = image.crop(left, top, width, height)
        if isinstance(array, ArrayFile):
            with array.path.open("r+b") as stream:
                stream.seek(-n_bytes(array.shape, array.dtype), os.SEEK_END)
                target = pyvips.Target.new_to_descriptor(stream.fileno())
                image.write_to_target(target, ".raw")
        else:
            array = np.atleast_3d(image.numpy())
    except pyvips.Error as error:
        raise _explained(error.detail) from None
    return array.__getitem__


def _explained(detail: str) -> ImageError:
    if _UNKNOWN in detail:
        known = "PNG, JPEG, TIFF, WebP, AVIF, GIF, OpenEXR, .npy, Zarr"
        return ImageError(f"is not an image of a known format ({known}): convert it to PNG or TIFF")
    reason = next(filter(None, map(str.strip, detail.splitlines())), "unreadable header")
    return ImageError(f"cannot be decoded ({reason}): {DAMAGED} as PNG or TIFF")
