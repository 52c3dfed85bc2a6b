"""TIFF files: through libvips, but for the kinds that it misreads."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from miner.images.errors import ImageError
from miner.images.limits import check_size
from miner.images.picture import Picture
from miner.images.tiff_head import CIELAB, GREY, RGB, YCBCR, TiffHead, read_head
from miner.images.vips_file import open_vips_file
from miner.images.wide_tiff import open_wide_tiff

TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_tiff(file: Path, max_pixels: int) -> Picture:
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
