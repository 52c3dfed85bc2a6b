"""What the header of a TIFF tells beyond libvips."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
