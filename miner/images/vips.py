"""PNG, JPEG, TIFF, WebP, AVIF and GIF through libvips: a lazy header first, pixels on demand."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from miner.images.canvas import new_array
from miner.images.checks import check_size
from miner.images.pixel_format import DecodedImage, Orientation, PixelType
from miner.signals.regions import Region
from miner.signals.scratch import ArrayLike, NpyFile, Scratch, n_bytes
from miner.support.errors import ImageError

if TYPE_CHECKING:
    import pyvips

_LOADERS = ("png", "jpeg", "tiff", "webp", "heif", "gif")  # libvips also draws SVG, text, ...


_COLOURS_KEPT = {"b-w", "grey16", "srgb", "rgb16", "scrgb", "rgb", "multiband"}


_DTYPES: dict[str, PixelType] = {"uchar": "uint8", "ushort": "uint16", "float": "float32"}


_UNKNOWN = "not in a known format"  # libvips' words


_TOO_MUCH = "emory allocation of"  # libtiff's: more than 50 MB for a strip


_LEFT_OUT = "Invalid tile byte count"  # likewise: a tile that is not in the file, as is allowed

logging.getLogger("pyvips").setLevel(logging.CRITICAL)  # what matters is said in a line of ours


def open_vips_file(file: Path, max_pixels: int) -> DecodedImage:
    """Read the header of a file's first page.

    Raises:
        ImageError: the content is no supported image or has more than `max_pixels` pixels.
    """
    import pyvips

    try:
        # a descriptor, as pyvips reads "name[option]" as options and wants names in UTF-8
        with file.open("rb") as stream:
            source = pyvips.Source.new_from_descriptor(stream.fileno())
            # "truncated" lets a cut TIFF pass; "warning" refuses sound ones, of unsorted tags say
            image = pyvips.Image.new_from_source(source, "", access="sequential", fail_on="error")
    except pyvips.Error as error:
        raise ImageError(_explain(file, error.detail)) from None
    if not image.get("vips-loader").startswith(_LOADERS):
        raise ImageError(_unknown(file))
    check_size(str(file), image.width, image.height, max_pixels, image.bands)
    try:
        return _picture(file, image)
    except pyvips.Error as error:
        raise ImageError(_explain(file, error.detail)) from None


def _picture(file: Path, image: pyvips.Image) -> DecodedImage:
    kept = _normalised(image)
    has_orientation = image.get_typeof("orientation")
    return DecodedImage(
        file,
        (image.height, image.width),
        kept.bands,
        _DTYPES[kept.format],
        partial(_load, file, kept),
        Orientation.of_exif(image.get("orientation") if has_orientation else 1),
        tuple(_remarks(file, image)),
    )


def _normalised(image: pyvips.Image) -> pyvips.Image:
    """Bring a lazy image to uint8, uint16 or float32 values in grey, RGB or plain bands, lazily."""
    if image.interpretation not in _COLOURS_KEPT:
        image = image.colourspace("rgb16" if image.format == "ushort" else "srgb")
    return image if image.format in _DTYPES else image.cast("float")


def _remarks(file: Path, image: pyvips.Image) -> list[str]:
    remarks = []
    n_pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if n_pages > 1:
        remarks.append(f"has {n_pages} pages or frames: only the first is read")
    if image.interpretation not in _COLOURS_KEPT:
        remarks.append(f"is in {image.interpretation.upper()}: converted to sRGB")
    elif image.format not in _DTYPES:
        remarks.append(f"holds {image.format} values: read as float32")
    if image.get("vips-loader").startswith("gif"):
        canvas, kept = _gif_canvas(file), (image.width, image.height)
        if canvas != kept:  # libvips leaves a canvas above 2048 pixels for a smaller frame
            claimed, read = (f"{width} x {height}" for width, height in (canvas, kept))
            remarks.append(f"claims {claimed} pixels: only the {read} of its first frame are read")
    return remarks


def _gif_canvas(file: Path) -> tuple[int, int]:
    """Width and height that the header claims."""
    with file.open("rb") as stream:
        header = stream.read(10)
    return int.from_bytes(header[6:8], "little"), int.from_bytes(header[8:10], "little")


def _load(file: Path, image: pyvips.Image, box: Region, scratch: Scratch) -> ArrayLike:
    """Decode a part of a lazy image; into a file of the scratch folder, a few rows at a time.

    Raises:
        ImageError: the file is damaged or cut short, or there is no room for its pixels.
    """
    import pyvips

    (top, bottom), (left, right) = box
    shape = (bottom - top, right - left, image.bands)
    array = new_array(scratch, "image", shape, _DTYPES[image.format])
    pyvips.Error("")  # takes all that libvips has complained of so far
    try:
        image = image.crop(left, top, right - left, bottom - top)
        if isinstance(array, NpyFile):
            with array.path.open("r+b") as stream:
                stream.seek(-n_bytes(array.shape, array.dtype), os.SEEK_END)
                target = pyvips.Target.new_to_descriptor(stream.fileno())
                image.write_to_target(target, ".raw")
        else:
            array = np.atleast_3d(image.numpy())
    except pyvips.Error as error:
        raise ImageError(_explain(file, error.detail)) from None
    complaints = _damage(pyvips.Error("").detail)
    if complaints:
        raise ImageError(_explain(file, complaints))
    return array


def _damage(complaints: str) -> str:
    """Lines about damaged tiles of a TIFF, which libvips reads as zeros without failing."""
    lines = complaints.splitlines()
    return "\n".join(line for line in lines if "tiff2vips" in line and _LEFT_OUT not in line)


def _explain(file: Path, detail: str) -> str:
    """Turn the several lines of a libvips error into one."""
    if _UNKNOWN in detail:
        return _unknown(file)
    reason = next(filter(None, map(str.strip, detail.splitlines())), "unreadable header")
    if _TOO_MUCH in detail:
        return (
            f"{str(file)!r} has strips or tiles that take too much memory ({reason}): save it as a "
            "TIFF of small tiles"
        )
    return (
        f"{str(file)!r} cannot be decoded ({reason}): it is damaged, cut short or of an "
        "unusual kind; export it again as PNG or TIFF"
    )


def _unknown(file: Path) -> str:
    return (
        f"{str(file)!r} is not an image of a known format (PNG, JPEG, TIFF, WebP, AVIF, GIF, "
        "OpenEXR, .npy, Zarr): convert it to PNG or TIFF"
    )
