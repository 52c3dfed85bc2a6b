"""Files decoded by libvips."""

import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from miner.images.metadata import profile_remarks, vips_metadata
from miner.images.pillow import count_frames, open_heif
from miner.images.pixel_format import DAMAGED, OpenedFile, Orientation, PixelType, Read, new_array
from miner.signals.regions import Region, sides_of
from miner.signals.scratch import ArrayFile, Scratch, n_bytes
from miner.support.errors import ImageError

if TYPE_CHECKING:
    import pyvips

# Loaded by libvips, but no images to people: drawings and documents, which have no size in pixels;
# tables; volumes, whose planes it joins; raw sensor data; its own format; what runs other programs.
_EXCLUDED = ("svg", "pdf", "csv", "raw", "mat", "analyze", "nifti", "dcraw", "magick")
_NAMES = {  # of formats that only some builds of libvips read, by how their files begin
    "JPEG XL": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
    "JPEG 2000": (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "),
}
_COLOURS_KEPT = {"b-w", "grey16", "srgb", "rgb16", "scrgb", "rgb", "multiband"}
_DTYPES: dict[str, PixelType] = {"uchar": "uint8", "ushort": "uint16", "float": "float32"}
_UNKNOWN = "not in a known format"
NO_IMAGE = "is not an image of a known format"
_PAGES = "pages or frames: only the first is read"

logging.getLogger("pyvips").setLevel(logging.CRITICAL)  # our errors report what matters


def open_vips_file(file: Path) -> OpenedFile:
    """Read the header of a file's first page; raises `ImageError` for unknown formats."""
    import pyvips

    try:
        # a descriptor, as pyvips reads "name[option]" as options and wants names in UTF-8
        with file.open("rb") as stream:
            magic = os.pread(stream.fileno(), 12, 0)
            source = pyvips.Source.new_from_descriptor(stream.fileno())
            options = {"access": "sequential", "fail_on": "error"}
            if magic.endswith(b"ftypavis"):  # animated AVIF, which libvips does not recognise
                image = pyvips.Image.heifload_source(source, **options)
            else:
                image = pyvips.Image.new_from_source(source, "", **options)
        loader = image.get("vips-loader") if image.get_typeof("vips-loader") else ""
        if not loader or loader.startswith(_EXCLUDED):  # libvips's own format has none
            raise _explained(_UNKNOWN)
        if loader.startswith("heif") and (codec := image.get("heif-compression")) != "av1":
            return open_heif(file, codec)
        remarks = _left_out(image, file, magic)
        orientation = image.get("orientation") if image.get_typeof("orientation") else 1
        if image.coding == "rad":
            image = image.rad2float()
        if image.interpretation not in _COLOURS_KEPT:
            remarks.append(f"is in {image.interpretation.upper()}: converted to sRGB")
            image = image.colourspace("rgb16" if image.format == "ushort" else "srgb").copy()
            image.remove("icc-profile-data")  # of other values
        elif image.format not in _DTYPES:
            remarks.append(f"holds {image.format} values: read as float32")
        if image.format not in _DTYPES:
            image = image.cast("float")
        metadata = vips_metadata(image, file)
        remarks += profile_remarks(image.get_typeof("icc-profile-data"), metadata)
    except pyvips.Error as error:
        raise _explained(error.detail, magic) from None
    turn = Orientation.of_exif(orientation)
    sides, dtype = turn.upright_sides((image.height, image.width)), _DTYPES[image.format]
    load, found = partial(_load, image), tuple(remarks)
    return OpenedFile(file.stem, sides, image.bands, dtype, load, turn, found, metadata)


def _left_out(image: "pyvips.Image", file: Path, magic: bytes) -> list[str]:
    if image.get_typeof("gainmap-data"):
        return ["has a gain map for HDR: the base image is read, as most viewers show it"]
    if magic.endswith(b"ftypavis"):
        return ["is an animation: only the first frame is read"]
    n_pages = image.get("n-pages") if image.get_typeof("n-pages") else count_frames(file)
    return [f"has {n_pages} {_PAGES}"] if n_pages > 1 else []


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


def _explained(detail: str, magic: bytes = b"") -> ImageError:
    if _UNKNOWN in detail:
        if name := next((name for name, begins in _NAMES.items() if magic.startswith(begins)), ""):
            return ImageError(f"is {name}, which libvips lacks here: convert it to PNG or TIFF")
        known = "PNG, JPEG, TIFF, WebP, AVIF, HEIC, GIF, OpenEXR, .npy, Zarr"
        return ImageError(f"{NO_IMAGE} ({known}): convert it to PNG or TIFF")
    lines = (line.strip() for line in detail.splitlines() if "bad seek" not in line)
    reason = next(filter(None, lines), "unreadable header")
    remedy = "convert it to" if "upported" in reason else f"{DAMAGED} as"
    return ImageError(f"cannot be decoded ({reason}): {remedy} PNG or TIFF")
