"""Writing the image of a report in the bit depth and channels of its source."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from miner.images.canvas import PixelCanvas
from miner.images.errors import ImageError
from miner.images.pixel_format import PixelFormat
from miner.images.preview import preview_factor, shrink
from miner.regions import Region, sides_of, whole
from miner.scratch import Scratch

logger = logging.getLogger(__name__)


class ReportImage:
    """An image of any size, filled tile by tile, that becomes a PNG.

    It becomes a TIFF if float32 or of more than 4 channels, and above `max_pixels` pixels a
    preview, smaller by a power of two, each pixel the mean of those it replaces.
    """

    def __init__(
        self,
        path: Path,
        format: PixelFormat,
        sides: tuple[int, int],
        scratch: Scratch,
        max_pixels: int = 2**28,
    ) -> None:
        """Take room for (height, width) pixels; the suffix of `path` (.png, .tif or none) is set.

        Raises:
            ImageError: there is no room, or `max_pixels` is below 1.
        """
        is_png = format.dtype != "float32" and format.channels <= 4
        stem = path.stem if path.suffix.lower() in (".png", ".tif") else path.name
        self._path = path.with_name(stem + (".png" if is_png else ".tif"))
        self._factor = preview_factor(*sides, max_pixels)
        height_px, width_px = (max(1, side // self._factor) for side in sides)
        self._sides = height_px, width_px
        self._canvas = PixelCanvas(format, *self._sides, scratch)

    def fill(self, tile: Region, unit: NDArray[np.float32]) -> None:
        """Set a tile to (C, h, w), clipped to [0, 1].

        Tiles begin at multiples of the preview's factor.

        Raises:
            ImageError: the shape does not fit, or a value is NaN.
        """
        if self._factor == 1:
            self._canvas.fill(tile, unit)
            return
        small = shrink(unit, self._factor)
        corner = [first // self._factor for first, _ in tile]
        place = tuple(
            (first, min(first + n, side))
            for first, n, side in zip(corner, small.shape[1:], self._sides, strict=True)
        )
        rows, columns = sides_of(place)
        if rows > 0 and columns > 0:  # nothing is left of a narrow last tile
            self._canvas.fill(place, small[:, :rows, :columns])

    def save(self) -> Path:
        """Write the file, whole or not at all; its folder is made.

        Raises:
            ImageError: the file cannot be written.
        """
        if self._factor > 1:
            logger.warning(
                "%s is a preview at 1/%d of the size: image too large", self._path, self._factor
            )
        return self._canvas.save(self._path)


def write_image(
    path: Path, pixels: NDArray[np.float32], format: PixelFormat, max_pixels: int = 2**28
) -> Path:
    """Write (C, H, W) in [0, 1], as `ReportImage` does; gives the path written.

    Raises `ImageError` if the shape does not fit `format`, a value is NaN, `max_pixels` is below
    1, or the file cannot be written.
    """
    if pixels.ndim != 3 or len(pixels) != format.channels or pixels.size == 0:
        raise ImageError(
            f"pixels of shape {pixels.shape}: give (channels, height, width), "
            f"with the {format.channels} channels of the format"
        )
    sides = pixels.shape[1], pixels.shape[2]
    image = ReportImage(path, format, sides, Scratch(None), max_pixels)
    image.fill(whole(sides), pixels)
    return image.save()
