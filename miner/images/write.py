"""Writing an image in memory in the bit depth and channels of its source."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from miner.images.canvas import PixelCanvas
from miner.images.errors import ImageError
from miner.images.pixel_format import PixelFormat
from miner.images.preview import preview_factor, shrink
from miner.regions import whole
from miner.scratch import Scratch

logger = logging.getLogger(__name__)


def write_image(
    path: Path, pixels: NDArray[np.float32], format: PixelFormat, max_pixels: int = 2**28
) -> Path:
    """Write (C, H, W) in [0, 1] as PNG, or as TIFF if float32 or of more than 4 channels.

    The suffix of `path` (.png, .tif or none) is set accordingly; gives the path written. The file
    appears whole or not at all; its folder is made. Above `max_pixels` pixels a preview is written
    instead, smaller by a power of two, each pixel the mean of those it replaces.

    Raises `ImageError` if the shape does not fit `format`, a value is NaN, `max_pixels` is below
    1, or the file cannot be written.
    """
    if pixels.ndim != 3 or len(pixels) != format.channels or pixels.size == 0:
        raise ImageError(
            f"pixels of shape {pixels.shape}: give (channels, height, width), "
            f"with the {format.channels} channels of the format"
        )
    is_png = format.dtype != "float32" and format.channels <= 4
    stem = path.stem if path.suffix.lower() in (".png", ".tif") else path.name
    path = path.with_name(stem + (".png" if is_png else ".tif"))
    factor = preview_factor(pixels.shape[1], pixels.shape[2], max_pixels)
    if factor > 1:
        logger.warning("%s is a preview at 1/%d of the size: image too large", path, factor)
        pixels = shrink(pixels, factor)
    sides = pixels.shape[1], pixels.shape[2]
    canvas = PixelCanvas(format, *sides, Scratch(None))
    canvas.fill(whole(sides), pixels)
    return canvas.save(path)
