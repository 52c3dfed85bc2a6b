"""TIFF files that libvips does not read or misreads: of 64-bit values, or of planes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from miner.images.array_view import ArrayView, pixel_type
from miner.images.errors import ImageError
from miner.images.orientation import Orientation
from miner.images.picture import Picture
from miner.images.pixel_format import PixelType
from miner.images.space import new_array
from miner.images.tiff_head import TiffHead
from miner.regions import Region
from miner.scratch import ArrayLike, Scratch, WritableArray

_MAX_SEGMENT_BYTES = 2**28  # a strip or tile is decoded whole
_READ_BYTES = 2**24  # of compressed segments at once


def open_wide_tiff(file: Path, head: TiffHead) -> Picture:
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
    return Picture(
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
            for values, position, extent in page.segments(maxworkers=1, buffersize=_READ_BYTES):
                _place(array, values, position, extent)
    except Exception as error:  # as above
        raise _undecodable(file, " ".join(str(error).split())) from None
    return ArrayView(array, "HWC", box)


def _place(
    array: WritableArray, values: Any, position: tuple[int, ...], extent: tuple[int, ...]
) -> None:
    """Write a decoded segment (1, h, w, C), which may reach beyond the image's edges."""
    plane, _, top, left, channel = position
    _, height, width, n_channels = extent
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
