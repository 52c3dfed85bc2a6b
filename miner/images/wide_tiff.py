"""TIFF files of 64-bit values, which libvips does not read."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from miner.images.array_view import ArrayView
from miner.images.errors import ImageError
from miner.images.limits import check_size
from miner.images.picture import Picture
from miner.images.space import new_array
from miner.regions import Region
from miner.scratch import ArrayLike, Scratch, WritableArray

_MAX_SEGMENT_BYTES = 2**28  # a strip or tile is decoded whole
_READ_BYTES = 2**24  # of compressed segments at once


def open_wide_tiff(file: Path, max_pixels: int) -> Picture | None:
    """Read the header of a TIFF's first page; None if `file` is not a TIFF of 64-bit values.

    Raises:
        ImageError: it has more than `max_pixels` pixels, or axes that are not those of an image.
    """
    import tifffile

    try:
        with tifffile.TiffFile(file) as tiff:
            page, n_pages = tiff.pages.first, len(tiff.pages)
            segment_bytes = math.prod(page.chunks) * 8
    except Exception:  # tifffile lets through whatever a damaged file provokes
        return None
    if page.dtype not in (np.float64, np.int64, np.uint64):
        return None
    sides, n_channels = (page.imagelength, page.imagewidth), page.samplesperpixel
    check_size(str(file), page.imagewidth, page.imagelength, max_pixels, n_channels)
    if page.axes not in ("YX", "YXS", "SYX"):
        raise _undecodable(file, f"its axes are {page.axes}")
    if segment_bytes > _MAX_SEGMENT_BYTES:
        raise _undecodable(file, f"its strips or tiles take {segment_bytes} bytes each")
    remarks = [f"holds {page.dtype} values: read as float32"]
    if n_pages > 1:
        remarks.append(f"has {n_pages} pages or frames: only the first is read")
    load = partial(_load, file, (*sides, n_channels))
    return Picture(file, sides, n_channels, "float32", load, remarks=tuple(remarks))


def _load(file: Path, shape: tuple[int, int, int], box: Region, scratch: Scratch) -> ArrayLike:
    """Decode the first page, a strip or tile at a time."""
    import tifffile

    array = new_array(scratch, "image", shape, np.float32)
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
        array[rows, columns, channels] = kept.astype(np.float32)


def _undecodable(file: Path, reason: str) -> ImageError:
    return ImageError(
        f"{str(file)!r} cannot be decoded ({reason}): save it as an uncompressed float32 TIFF"
    )
