"""What a file says of its pixels besides the values: kept, and written with what is rendered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GDAL_NODATA = 42113  # a tag of TIFF


@dataclass(frozen=True)
class Metadata:
    """Resolution, colour profile and no-data value of an image; each is empty where a file is."""

    resolution: tuple[float, float] | None = None  # pixels a millimetre, across and down
    icc: str = ""  # the colour profile, in base64
    nodata: str = ""  # what pixels without data hold, as in GDAL's tag: -9999, nan


NO_METADATA = Metadata()


def tiff_metadata(page: Any, convert: Callable[[NDArray[Any]], NDArray[Any]]) -> Metadata:
    """What the tags of tifffile's page say, of whose samples (H, W, S) `convert` makes pixels."""
    nodata = page.tags.valueof(_GDAL_NODATA, "")
    text = nodata.strip("\0 \n") if isinstance(nodata, str) else ""
    return Metadata(nodata=_of_pixels(text, page, convert))


def _of_pixels(text: str, page: Any, convert: Callable[[NDArray[Any]], NDArray[Any]]) -> str:
    """The no-data value of samples as that of pixels; empty where these have different values."""
    try:
        value = float(text)
    except ValueError:
        return ""
    if page.dtype.kind not in "iu" or value % 1:
        return text
    n_signs = int(page.dtype.kind == "i")
    most = 2 ** (int(page.bitspersample) - n_signs) - 1
    if not -n_signs * (most + 1) <= value <= most:  # as no sample has
        return text
    sample = np.full((1, 1, page.samplesperpixel), value, page.dtype)
    first, *others = np.unique(convert(sample)).tolist()
    return "" if others else text if first == value else str(first)
