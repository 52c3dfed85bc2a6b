"""TIFF files."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from miner.images.arrays import ArrayView, pixel_type
from miner.images.canvas import new_array
from miner.images.checks import check_size
from miner.images.pixel_format import DecodedImage, Orientation, PixelType
from miner.images.vips import open_vips_file
from miner.signals.regions import Region
from miner.signals.scratch import ArrayLike, Scratch, WritableArray
from miner.support.errors import ImageError

RGB, CMYK, YCBCR, CIELAB = 2, 5, 6, 8  # photometric interpretations


GREY = 1


_NOT_COMPRESSED, _JPEGS = 1, (6, 7)


_PLANAR = 2


_ASSOCIATED = 1


_ORIENTATION_TAG = 274

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what matters is said in a line of ours


@dataclass(frozen=True)
class TiffHead:
    """The first page of a file."""

    sides: tuple[int, int]  # height and width as stored
    n_channels: int
    dtype: np.dtype[Any] | None
    bits: tuple[int, ...]  # of a value of each channel, once where all are alike
    photometric: int
    is_jpeg: bool  # whose decoder gives RGB
    is_planar: bool  # with several channels, each in strips or tiles of its own
    is_tiled: bool
    has_associated_alpha: bool
    orientation: int
    axes: str  # as tifffile names them
    segment_bytes: int  # of a strip or tile, decoded
    end: int  # of its last strip or tile in the file
    n_left_out: int  # strips or tiles that are not in the file


def read_head(file: Path) -> TiffHead | None:
    """Read the header of a TIFF's first page; None if tifffile cannot."""
    import tifffile

    try:
        with tifffile.TiffFile(file) as tiff:
            return _head(tiff.pages.first)
    except Exception:  # tifffile lets through whatever a damaged file provokes
        return None


def _head(page: Any) -> TiffHead:
    bits = page.bitspersample
    orientation = page.tags.get(_ORIENTATION_TAG)
    return TiffHead(
        (int(page.imagelength), int(page.imagewidth)),
        int(page.samplesperpixel),
        None if page.dtype is None else np.dtype(page.dtype),
        tuple(bits) if isinstance(bits, tuple) else (bits,),
        int(page.photometric),
        int(page.compression) in _JPEGS,
        int(page.planarconfig) == _PLANAR and page.samplesperpixel > 1,
        bool(page.is_tiled),
        _ASSOCIATED in page.extrasamples,
        int(orientation.value) if orientation else 1,
        str(page.axes),
        _segment_bytes(page),
        _end(page),
        sum(count == 0 for count in page.databytecounts),
    )


def _segment_bytes(page: Any) -> int:
    return int(math.prod(page.chunks)) * (int(page.dtype.itemsize) if page.dtype else 1)


def _end(page: Any) -> int:
    """Where the last strip or tile ends; those left out of the file have no bytes."""
    counts = np.array(page.databytecounts, np.uint64)
    if int(page.compression) == _NOT_COMPRESSED:  # too large a count is harmless, and not rare
        counts = np.minimum(counts, np.uint64(_segment_bytes(page)))
    offsets = np.array(page.dataoffsets[: len(counts)], np.uint64)
    counts = counts[: len(offsets)]
    return int((offsets + counts)[counts > 0].max(initial=0))


_MAX_SEGMENT_BYTES = 2**28  # a strip or tile is decoded whole


_READ_BYTES = 2**24  # of compressed segments at once


def open_wide_tiff(file: Path, head: TiffHead) -> DecodedImage:
    """Take the first page of a TIFF whose header has been read.

    Raises:
        ImageError: its axes are not those of an image, or its values or strips of an odd size.
    """
    dtype = None if head.dtype is None else pixel_type(head.dtype)
    if dtype is None or set(head.bits) - {8, 16, 32, 64}:
        raise _undecodable(file, f"its values have {max(head.bits)} bits")
    if head.axes not in ("YX", "YXS", "SYX"):
        raise _undecodable(file, f"its axes are {head.axes}")
    if head.segment_bytes > _MAX_SEGMENT_BYTES:
        raise _undecodable(file, f"its strips or tiles take {head.segment_bytes} bytes each")
    remarks = [] if dtype == head.dtype else [f"holds {head.dtype} values: read as float32"]
    n_pages = _count_pages(file)
    if n_pages > 1:
        remarks.append(f"has {n_pages} pages or frames: only the first is read")
    return DecodedImage(
        file,
        head.sides,
        head.n_channels,
        dtype,
        partial(_load, file, (*head.sides, head.n_channels), dtype),
        Orientation.of_exif(head.orientation),
        tuple(remarks),
    )


def _count_pages(file: Path) -> int:
    import tifffile

    try:
        with tifffile.TiffFile(file) as tiff:
            return len(tiff.pages)
    except Exception as error:  # tifffile lets through whatever a damaged file provokes
        raise _undecodable(file, " ".join(str(error).split())) from None


def _load(
    file: Path, shape: tuple[int, int, int], dtype: PixelType, box: Region, scratch: Scratch
) -> ArrayLike:
    """Decode the first page, a strip or tile at a time."""
    import tifffile

    array = new_array(scratch, "image", shape, dtype)
    try:
        with tifffile.TiffFile(file) as tiff:
            page: Any = tiff.pages.first
            for values, position, valid_size in page.segments(maxworkers=1, buffersize=_READ_BYTES):
                _place(array, values, position, valid_size)
    except Exception as error:  # as above
        raise _undecodable(file, " ".join(str(error).split())) from None
    return ArrayView(array, "HWC", box)


def _place(
    array: WritableArray, values: Any, position: tuple[int, ...], valid_size: tuple[int, ...]
) -> None:
    """Write a decoded segment (1, h, w, C), which may reach beyond the image's edges."""
    plane, _, top, left, channel = position
    _, height, width, n_channels = valid_size
    channel = plane or channel
    rows, columns = slice(top, top + height), slice(left, left + width)
    channels = slice(channel, channel + n_channels)
    if values is None:  # left out of the file, as nothing is there
        array[rows, columns, channels] = 0
        return
    kept = values[0, : array.shape[0] - top, : array.shape[1] - left]
    with np.errstate(over="ignore"):  # an infinity is refused later, like those in other files
        array[rows, columns, channels] = kept.astype(array.dtype)


def _undecodable(file: Path, reason: str) -> ImageError:
    return ImageError(
        f"{str(file)!r} cannot be decoded ({reason}): save it as an uncompressed, "
        "interleaved TIFF of at most 32 bits a value"
    )


TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_tiff(file: Path, max_pixels: int) -> DecodedImage:
    """Read the header of a file's first page.

    Raises:
        ImageError: it is damaged or cut short, has more than `max_pixels` pixels, or is of a kind
            that is not read.
    """
    head = read_head(file)
    if head is None:
        return open_vips_file(file, max_pixels)
    height, width = head.sides
    check_size(str(file), width, height, max_pixels, head.n_channels)
    _check(file, head)
    is_wide = head.dtype in (np.float64, np.int64, np.uint64)
    if is_wide or (head.is_planar and (head.is_tiled or head.photometric != RGB)):
        picture, is_divided = open_wide_tiff(file, head), False
    else:
        picture, is_divided = open_vips_file(file, max_pixels), head.has_associated_alpha
    remarks = list(picture.remarks)
    if is_divided:
        remarks.append("has associated alpha: the colours are divided by it")
    if head.is_tiled and head.n_left_out:
        remarks.append(f"lacks {head.n_left_out} of its tiles: they are read as zeros")
    return replace(picture, remarks=tuple(remarks))


def _check(file: Path, head: TiffHead) -> None:
    """Refuse what would be read as other pixels than those meant."""
    size = file.stat().st_size
    if head.end > size:
        raise ImageError(
            f"{str(file)!r} is cut short: it has {size} bytes and its pixels end at byte "
            f"{head.end}; copy or export it again"
        )
    if head.is_planar and head.photometric not in (GREY, RGB):
        raise ImageError(
            f"{str(file)!r} holds one plane per channel, of photometric kind {head.photometric}: "
            "only grey and RGB planes are read; save it as an interleaved RGB TIFF"
        )
    if head.photometric == YCBCR and not head.is_jpeg:
        raise ImageError(
            f"{str(file)!r} is in YCbCr that is not compressed by JPEG: no other is read; "
            "save it as an RGB TIFF"
        )
    if head.photometric == CIELAB and max(head.bits) <= 8:
        raise ImageError(
            f"{str(file)!r} is in CIELab of 8 bits: only 16 bits and floats of it are read; save "
            "it as an RGB TIFF"
        )
