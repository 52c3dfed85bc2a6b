"""TIFF files of 64-bit values, which libvips does not read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from miner.images.errors import ImageError
from miner.images.limits import check_size

if TYPE_CHECKING:
    import pyvips


def read_wide_tiff(file: Path, max_pixels: int) -> pyvips.Image | None:
    """Decode the first page to a float32 pyvips image; None if `file` is not such a TIFF.

    Raises `ImageError` if it has more than `max_pixels` pixels or cannot be decoded.
    """
    import pyvips
    import tifffile

    try:
        with tifffile.TiffFile(file) as tiff:
            page, n_pages = tiff.pages.first, len(tiff.pages)
    except Exception:  # tifffile lets through whatever a damaged file provokes
        return None
    if page.dtype not in (np.float64, np.int64, np.uint64):
        return None
    check_size(str(file), page.imagewidth, page.imagelength, max_pixels)
    image = pyvips.Image.new_from_array(_decode(file, page.axes)).copy()
    image.set_type(pyvips.GValue.gint_type, "n-pages", n_pages)
    return image


def _decode(file: Path, axes: str) -> NDArray[np.float32]:
    """Decode the first page, laid out as `axes`, to (H, W) or (H, W, C)."""
    import tifffile

    try:
        pixels = tifffile.imread(file, key=0)
        if axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        elif axes not in ("YX", "YXS"):
            raise ValueError(f"its axes are {axes}")
    except Exception as error:  # as above
        reason = " ".join(str(error).split())
        raise ImageError(
            f"{str(file)!r} cannot be decoded ({reason}): save it as an uncompressed float32 TIFF"
        ) from None
    with np.errstate(over="ignore"):  # an infinity is refused later, like those in other files
        return np.ascontiguousarray(pixels, dtype=np.float32)
