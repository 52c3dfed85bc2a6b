"""TIFF files: what libvips would misread is refused, or decoded by tifffile."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from miner.images.pixel_format import (
    OpenedFile,
    Orientation,
    PixelType,
    new_array,
    one_line_errors,
    pixel_type,
)
from miner.images.vips import open_vips_file
from miner.signals.regions import Region, sides_of
from miner.signals.scratch import ArrayLike, Scratch, WritableArray
from miner.support.errors import ImageError

TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# values of tags
_GREY, _RGB, _YCBCR, _CIELAB = 1, 2, 6, 8  # photometric interpretations
_NOT_COMPRESSED, _JPEGS = 1, (6, 7)
_PLANAR = 2
_ASSOCIATED = 1
_ORIENTATION_TAG = 274

_MAX_SEGMENT_BYTES = 2**28  # a strip or tile is decoded whole
_READ_BYTES = 2**24  # of compressed segments at once
_REMEDY = "save it as an uncompressed, interleaved TIFF of at most 32 bits a value"

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # our errors report what matters


def open_tiff(file: Path) -> OpenedFile:
    """Read the header of a file's first page; raises `ImageError` for kinds that are not read."""
    import tifffile

    try:
        with tifffile.TiffFile(file) as tiff:
            page: Any = tiff.pages.first
            _check(file, page)
            is_misread = _is_misread(page)
            is_divided = _ASSOCIATED in page.extrasamples and not is_misread
            n_missing = sum(count == 0 for count in page.databytecounts) if page.is_tiled else 0
    except ImageError:
        raise
    except Exception:  # tifffile lets through whatever a damaged file provokes
        return open_vips_file(file)
    opened = _open_by_tifffile(file) if is_misread else open_vips_file(file)
    remarks = list(opened.remarks)
    if is_divided:
        remarks.append("has associated alpha: the colours are divided by it")
    if n_missing:
        remarks.append(f"lacks {n_missing} of its tiles: they are read as zeros")
    return replace(opened, remarks=tuple(remarks))


def _check(file: Path, page: Any) -> None:
    """Refuse what libvips would read as other pixels than those meant."""
    size, end = file.stat().st_size, _end(page)
    photometric = int(page.photometric)
    if end > size:
        raise ImageError(
            f"{str(file)!r} is cut short: it has {size} bytes and its pixels end at byte "
            f"{end}; copy or export it again"
        )
    if _is_planar(page) and photometric not in (_GREY, _RGB):
        raise ImageError(
            f"{str(file)!r} holds one plane per channel, of photometric kind {photometric}: "
            "only grey and RGB planes are read; save it as an interleaved RGB TIFF"
        )
    if photometric == _YCBCR and int(page.compression) not in _JPEGS:
        raise ImageError(
            f"{str(file)!r} is in YCbCr that is not compressed by JPEG: no other is read; "
            "save it as an RGB TIFF"
        )
    if photometric == _CIELAB and max(_bits(page)) <= 8:
        raise ImageError(
            f"{str(file)!r} is in CIELab of 8 bits: only 16 bits and floats of it are read; save "
            "it as an RGB TIFF"
        )


def _end(page: Any) -> int:
    """Where the last strip or tile ends; those left out of the file have no bytes."""
    counts = np.array(page.databytecounts, np.uint64)
    if int(page.compression) == _NOT_COMPRESSED:  # too large a count is harmless, and not rare
        counts = np.minimum(counts, np.uint64(_segment_bytes(page)))
    offsets = np.array(page.dataoffsets[: len(counts)], np.uint64)
    counts = counts[: len(offsets)]
    return int((offsets + counts)[counts > 0].max(initial=0))


def _segment_bytes(page: Any) -> int:
    """Of a strip or tile, decoded."""
    return int(math.prod(page.chunks)) * (int(page.dtype.itemsize) if page.dtype else 1)


def _bits(page: Any) -> tuple[int, ...]:
    """Of a value of each channel, once where all are alike."""
    bits = page.bitspersample
    return tuple(bits) if isinstance(bits, tuple) else (bits,)


def _is_planar(page: Any) -> bool:
    return int(page.planarconfig) == _PLANAR and page.samplesperpixel > 1


def _is_misread(page: Any) -> bool:
    """Whether libvips would lose bits of the values or confuse the planes."""
    if page.dtype in (np.float64, np.int64, np.uint64):
        return True
    return _is_planar(page) and bool(page.is_tiled or int(page.photometric) != _RGB)


def _open_by_tifffile(file: Path) -> OpenedFile:
    """Read the header of the first page; refuses unusual axes and sizes of values or strips."""
    import tifffile

    with one_line_errors(file, _REMEDY), tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages.first
        n_pages, n_bits, axes = len(tiff.pages), _bits(page), str(page.axes)
        size, orientation = _segment_bytes(page), int(page.tags.valueof(_ORIENTATION_TAG, 1))
    dtype = None if page.dtype is None else pixel_type(page.dtype)
    if dtype is None or set(n_bits) - {8, 16, 32, 64}:
        raise ImageError(f"{str(file)!r} has values of {max(n_bits)} bits: {_REMEDY}")
    if axes not in ("YX", "YXS", "SYX"):
        raise ImageError(f"{str(file)!r} has axes {axes}: {_REMEDY}")
    if size > _MAX_SEGMENT_BYTES:
        raise ImageError(f"{str(file)!r} has strips or tiles of {size} bytes each: {_REMEDY}")
    remarks = [] if dtype == page.dtype else [f"holds {page.dtype} values: read as float32"]
    if n_pages > 1:
        remarks.append(f"has {n_pages} pages or frames: only the first is read")
    return OpenedFile(
        file,
        (int(page.imagelength), int(page.imagewidth)),
        int(page.samplesperpixel),
        dtype,
        partial(_load, file, int(page.samplesperpixel), dtype),
        Orientation.of_exif(orientation),
        tuple(remarks),
    )


def _load(
    file: Path, n_channels: int, dtype: PixelType, box: Region, scratch: Scratch
) -> ArrayLike:
    """Decode a part of the first page, a strip or tile at a time."""
    import tifffile

    array = new_array(scratch, "image", (*sides_of(box), n_channels), dtype)
    with one_line_errors(file, _REMEDY), tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages.first
        for segment in page.segments(maxworkers=1, buffersize=_READ_BYTES):
            _copy(array, box, *segment)
    return array


def _copy(
    array: WritableArray,
    box: Region,
    values: Any,
    position: tuple[int, ...],
    size: tuple[int, ...],
) -> None:
    """Write the part of a decoded segment (1, h, w, C) that is inside the box."""
    plane, _, top, left, channel = position
    to_rows, rows = _overlap(top, size[1], box[0])
    to_columns, columns = _overlap(left, size[2], box[1])
    first = plane or channel
    target = (to_rows, to_columns, slice(first, first + size[3]))
    if values is None:  # left out of the file, as nothing is there
        array[target] = 0
        return
    with np.errstate(over="ignore"):  # infinities are refused later, as in other files
        array[target] = values[0, rows, columns].astype(array.dtype)


def _overlap(first: int, size: int, span: tuple[int, int]) -> tuple[slice, slice]:
    """What a segment and a span along one axis share, counted from the span and the segment."""
    start = max(first, span[0])
    end = max(start, min(first + size, span[1]))
    return slice(start - span[0], end - span[0]), slice(start - first, end - first)
