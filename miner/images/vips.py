"""Files decoded by libvips, or by tifffile where libvips would misread a TIFF."""

import logging
import math
import os
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from miner.images.arrays import open_array
from miner.images.axes import check_rows_first, known_axes
from miner.images.metadata import Metadata
from miner.images.pillow import count_frames, open_heif
from miner.images.pixel_format import (
    DAMAGED,
    OpenedFile,
    Orientation,
    PixelType,
    Read,
    decoding,
    new_array,
)
from miner.signals.regions import Region, sides_of, slices, tiles
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
# messages of libvips and libtiff
_UNKNOWN = "not in a known format"
_MISSING_TILE = "Invalid tile byte count"  # a tile that is not in the file, as is allowed
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_GREY, _RGB, _YCBCR, _CIELAB = 1, 2, 6, 8  # photometric interpretations
_NOT_COMPRESSED, _JPEGS = 1, (6, 7)
_PLANAR, _ASSOCIATED, _ORIENTATION_TAG, _NODATA_TAG = 2, 1, 274, 42113
_MAX_SEGMENT_BYTES = 2**28  # a strip or tile is decoded whole
_CHUNKS = 16  # tiles that are decoded at once
_PAGES = "pages or frames: only the first is read; of a TIFF, image.axes=DHW or CHW takes all"
_AS_PAGES: Any = {"is_shaped": False}  # not one series for each call that wrote some of them
_REMEDY = "save it as an uncompressed, interleaved TIFF of at most 32 bits a value"

for _library in ("pyvips", "tifffile"):
    logging.getLogger(_library).setLevel(logging.CRITICAL)  # our errors report what matters


def open_vips_file(file: Path) -> OpenedFile:
    """Read the header of a file's first page; raises `ImageError` for unknown formats."""
    import pyvips

    try:
        # a descriptor, as pyvips reads "name[option]" as options and wants names in UTF-8
        with file.open("rb") as stream:
            magic = os.pread(stream.fileno(), 12, 0)
            source = pyvips.Source.new_from_descriptor(stream.fileno())
            # "truncated" lets a cut TIFF pass; "warning" refuses sound ones, say of unsorted tags
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
            image = image.colourspace("rgb16" if image.format == "ushort" else "srgb")
        elif image.format not in _DTYPES:
            remarks.append(f"holds {image.format} values: read as float32")
        if image.format not in _DTYPES:
            image = image.cast("float")
    except pyvips.Error as error:
        raise _explained(error.detail, magic) from None
    turn = Orientation.of_exif(orientation)
    sides, dtype = turn.upright_sides((image.height, image.width)), _DTYPES[image.format]
    load = partial(_load, image)
    return OpenedFile(file.stem, sides, image.bands, dtype, load, turn, tuple(remarks))


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
    pyvips.Error("")  # empties the buffer of earlier messages
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
    for message in pyvips.Error("").detail.splitlines():
        if "tiff2vips" in message and _MISSING_TILE not in message:  # a damaged tile, read as zeros
            raise _explained(message)
    return array.__getitem__


def _explained(detail: str, magic: bytes = b"") -> ImageError:
    if _UNKNOWN in detail:
        if name := next((name for name, begins in _NAMES.items() if magic.startswith(begins)), ""):
            return ImageError(f"is {name}, which libvips lacks here: convert it to PNG or TIFF")
        known = "PNG, JPEG, TIFF, WebP, AVIF, HEIC, GIF, OpenEXR, .npy, Zarr"
        return ImageError(f"is not an image of a known format ({known}): convert it to PNG or TIFF")
    lines = (line.strip() for line in detail.splitlines() if "bad seek" not in line)
    reason = next(filter(None, lines), "unreadable header")
    remedy = "convert it to" if "upported" in reason else f"{DAMAGED} as"
    return ImageError(f"cannot be decoded ({reason}): {remedy} PNG or TIFF")


def open_tiff(file: Path, axes: str | None = None) -> OpenedFile:
    """Read the header of a file's first page, or of all that `axes` or the file's names describe.

    Raises `ImageError` for kinds that are not read.
    """
    import tifffile

    opened, is_divided, n_missing, nodata = None, False, 0, ""
    try:
        with tifffile.TiffFile(file) as tiff:
            page: Any = tiff.pages.first
            nodata = str(page.tags.valueof(_NODATA_TAG, "")).strip("\0 ")
            if len(tiff.pages) > 1 and (stack := _open_stack(file, axes)):
                return stack
            is_planar = int(page.planarconfig) == _PLANAR and page.samplesperpixel > 1
            _check(page, is_planar, file.stat().st_size)
            is_misread = page.dtype in (np.float64, np.int64, np.uint64) or (
                is_planar and (page.is_tiled or int(page.photometric) != _RGB)
            )
            opened = _open_page(file, page, len(tiff.pages)) if is_misread else None
            is_divided = _ASSOCIATED in page.extrasamples and not is_misread
            n_missing = sum(count == 0 for count in page.databytecounts) if page.is_tiled else 0
    except ImageError:
        raise
    except Exception:  # tifffile raises anything over damaged files
        opened = None
    check_rows_first(axes)
    opened = opened or open_vips_file(file)
    remarks = list(opened.remarks)
    if is_divided:
        remarks.append("has associated alpha: the colours are divided by it")
    if n_missing:
        remarks.append(f"lacks {n_missing} of its tiles: they are read as zeros")
    return replace(opened, remarks=tuple(remarks), metadata=Metadata(nodata=nodata))


def _open_stack(file: Path, axes: str | None) -> OpenedFile | None:
    """The pages of a file as one array; None if neither `axes` nor the file says how."""
    import tifffile

    with tifffile.TiffFile(file, **_AS_PAGES) as tiff:
        series: Any = tiff.series[0]
        if len(series) == 1 or not (axes or known_axes(series.shape, series.axes)):
            return None
        _refuse_cut(filter(None, series), file.stat().st_size)
        opened = open_array(file.stem, series, axes, series.axes)
    return replace(opened, load=partial(_load_pages, file, True, axes))


def _load_pages(
    file: Path, is_stack: bool, axes: str | None, box: Region, scratch: Scratch
) -> Read:
    """Decode a part of all pages or of the first one, a plane or a few tiles at a time."""
    import tifffile
    import zarr

    with decoding(_REMEDY), tifffile.TiffFile(file, **_AS_PAGES) as tiff:
        pages: Any = tiff.series[0] if is_stack else tiff.pages.first
        stored: Any = zarr.open(pages.aszarr(), mode="r")
        opened = open_array(file.stem, stored, axes, pages.axes)
        read = opened.load(box, scratch)
        sides, lengths = sides_of(box), dict(zip(str(pages.axes), stored.chunks, strict=True))
        array = new_array(scratch, "image", (*sides, opened.n_channels), opened.dtype)
        steps = (1, *sides[1:]) if is_stack else (lengths["Y"], _CHUNKS * lengths["X"])
        for part in tiles(sides, steps):
            array[slices(part)] = read(slices(part))
    return array.__getitem__


def _check(page: Any, is_planar: bool, n_bytes: int) -> None:
    """Refuse what libvips would read as other pixels than those meant."""
    kind = int(page.photometric)
    _refuse_cut([page], n_bytes)
    if is_planar and kind not in (_GREY, _RGB):
        remedy = "only grey and RGB planes are read; save it as an interleaved RGB TIFF"
        raise ImageError(f"holds one plane per channel, of photometric kind {kind}: {remedy}")
    if kind == _YCBCR and int(page.compression) not in _JPEGS:
        raise ImageError("is in YCbCr that is not compressed by JPEG: save it as an RGB TIFF")
    if kind == _CIELAB and np.max(page.bitspersample) <= 8:
        raise ImageError("is in CIELab of 8 bits, which is not read: save it as an RGB TIFF")


def _refuse_cut(pages: Iterable[Any], n_bytes: int) -> None:
    ends = [0]
    for page in pages:
        is_compressed = int(page.keyframe.compression) != _NOT_COMPRESSED
        most = math.inf if is_compressed else _segment_bytes(page.keyframe)  # more is harmless
        segments = zip(page.dataoffsets, page.databytecounts, strict=False)
        ends += [offset + min(count, most) for offset, count in segments if count]
    if max(ends) > n_bytes:
        sizes = f"it has {n_bytes} bytes and its pixels end at byte {max(ends)}"
        raise ImageError(f"is cut short: {sizes}; copy or export it again")


def _segment_bytes(page: Any) -> int:
    """Of a strip or tile, decoded."""
    return int(math.prod(page.chunks)) * (int(page.dtype.itemsize) if page.dtype else 1)


def _open_page(file: Path, page: Any, n_pages: int) -> OpenedFile:
    """Open the first page; refuses unusual axes and sizes of values or strips."""
    bits = np.ravel(page.bitspersample)
    if page.dtype is None or not np.isin(bits, (8, 16, 32, 64)).all():
        raise ImageError(f"has values of {bits.max()} bits: {_REMEDY}")
    if page.axes not in ("YX", "YXS", "SYX"):
        raise ImageError(f"has axes {page.axes}: {_REMEDY}")
    with decoding(_REMEDY):
        size = _segment_bytes(page)
        turn = Orientation.of_exif(int(page.tags.valueof(_ORIENTATION_TAG, 1)))
    if size > _MAX_SEGMENT_BYTES:
        raise ImageError(f"has strips or tiles of {size} bytes each: {_REMEDY}")
    opened = open_array(file.stem, page, None, page.axes)
    remarks = (*opened.remarks, *([f"has {n_pages} {_PAGES}"] if n_pages > 1 else []))
    sides, load = turn.upright_sides(opened.sides), partial(_load_pages, file, False, None)
    return replace(opened, sides=sides, load=load, orientation=turn, remarks=remarks)
