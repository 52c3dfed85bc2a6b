"""TIFF files: what libvips would misread is refused, or decoded by tifffile."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from miner.images.pixel_format import OpenedFile, Orientation, decoding, new_array, pixel_type
from miner.images.vips import open_vips_file
from miner.signals.regions import Region, sides_of
from miner.signals.scratch import ArrayLike, Scratch
from miner.support.errors import ImageError

TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_GREY, _RGB, _YCBCR, _CIELAB = 1, 2, 6, 8  # photometric interpretations
_NOT_COMPRESSED, _JPEGS = 1, (6, 7)
_PLANAR, _ASSOCIATED, _ORIENTATION_TAG = 2, 1, 274

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
            is_planar = int(page.planarconfig) == _PLANAR and page.samplesperpixel > 1
            _check(page, is_planar, file.stat().st_size)
            is_misread = page.dtype in (np.float64, np.int64, np.uint64) or (
                is_planar and (page.is_tiled or int(page.photometric) != _RGB)
            )
            is_divided = _ASSOCIATED in page.extrasamples and not is_misread
            n_missing = sum(count == 0 for count in page.databytecounts) if page.is_tiled else 0
    except ImageError:
        raise
    except Exception:  # tifffile raises anything over damaged files
        return open_vips_file(file)
    opened = _open_by_tifffile(file) if is_misread else open_vips_file(file)
    remarks = list(opened.remarks)
    if is_divided:
        remarks.append("has associated alpha: the colours are divided by it")
    if n_missing:
        remarks.append(f"lacks {n_missing} of its tiles: they are read as zeros")
    return replace(opened, remarks=tuple(remarks))


def _check(page: Any, is_planar: bool, n_bytes: int) -> None:
    """Refuse what libvips would read as other pixels than those meant."""
    kind, is_compressed = int(page.photometric), int(page.compression) != _NOT_COMPRESSED
    counts = np.array(page.databytecounts, np.uint64)
    if not is_compressed:  # too large a count is harmless, and not rare
        counts = np.minimum(counts, np.uint64(_segment_bytes(page)))
    offsets = np.array(page.dataoffsets[: len(counts)], np.uint64)
    counts = counts[: len(offsets)]
    end = int((offsets + counts)[counts > 0].max(initial=0))  # tiles left out have no bytes
    if end > n_bytes:
        sizes = f"it has {n_bytes} bytes and its pixels end at byte {end}"
        raise ImageError(f"is cut short: {sizes}; copy or export it again")
    if is_planar and kind not in (_GREY, _RGB):
        remedy = "only grey and RGB planes are read; save it as an interleaved RGB TIFF"
        raise ImageError(f"holds one plane per channel, of photometric kind {kind}: {remedy}")
    if kind == _YCBCR and int(page.compression) not in _JPEGS:
        raise ImageError("is in YCbCr that is not compressed by JPEG: save it as an RGB TIFF")
    if kind == _CIELAB and np.max(page.bitspersample) <= 8:
        raise ImageError("is in CIELab of 8 bits, which is not read: save it as an RGB TIFF")


def _segment_bytes(page: Any) -> int:
    """Of a strip or tile, decoded."""
    return int(math.prod(page.chunks)) * (int(page.dtype.itemsize) if page.dtype else 1)


def _open_by_tifffile(file: Path) -> OpenedFile:
    """Read the header of the first page; refuses unusual axes and sizes of values or strips."""
    import tifffile

    with decoding(_REMEDY), tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages.first
        n_pages, bits = len(tiff.pages), np.ravel(page.bitspersample)
        size, orientation = _segment_bytes(page), int(page.tags.valueof(_ORIENTATION_TAG, 1))
    dtype = None if page.dtype is None else pixel_type(page.dtype)
    if dtype is None or not np.isin(bits, (8, 16, 32, 64)).all():
        raise ImageError(f"has values of {bits.max()} bits: {_REMEDY}")
    if page.axes not in ("YX", "YXS", "SYX"):
        raise ImageError(f"has axes {page.axes}: {_REMEDY}")
    if size > _MAX_SEGMENT_BYTES:
        raise ImageError(f"has strips or tiles of {size} bytes each: {_REMEDY}")
    remarks = [] if dtype == page.dtype else [f"holds {page.dtype} values: read as float32"]
    if n_pages > 1:
        remarks.append(f"has {n_pages} pages or frames: only the first is read")
    return OpenedFile(
        file.stem,
        (int(page.imagelength), int(page.imagewidth)),
        int(page.samplesperpixel),
        dtype,
        partial(_load, file),
        Orientation.of_exif(orientation),
        tuple(remarks),
    )


def _load(file: Path, box: Region, scratch: Scratch) -> ArrayLike:
    """Decode a part of the first page, a strip or tile at a time."""
    import tifffile

    with decoding(_REMEDY), tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages.first
        shape = (*sides_of(box), int(page.samplesperpixel))
        array = new_array(scratch, "image", shape, pixel_type(page.dtype))
        for values, corner, size in page.segments(maxworkers=1, buffersize=_READ_BYTES):
            plane, _, y, x, channel = corner
            first_channel = plane or channel
            target, source = [], []
            for first, n, (low, high) in zip((y, x), size[1:3], box, strict=True):
                start = max(first, low)
                end = max(start, min(first + n, high))
                target.append(slice(start - low, end - low))
                source.append(slice(start - first, end - first))
            index = (*target, slice(first_channel, first_channel + size[3]))
            if values is None:  # left out of the file
                array[index] = 0
                continue
            with np.errstate(over="ignore"):  # infinities are refused later, as in other files
                array[index] = values[(0, *source)].astype(array.dtype)
    return array
