"""Any image file as a source of regions."""

import logging
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.files import image_digest, open_file
from miner.images.pixel_format import OpenedFile, Orientation, PixelFormat, Read, errors_about
from miner.signals.regions import Region, sides_of, slices, tiles, whole
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

_IN_MEMORY = Scratch(None)
_MAX_CHANNELS = 1024  # a header that claims more is damaged, or a trap
_TILE_VALUES = 2**22

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SourceImage:
    """An image that is read region by region, with what is needed to write it as its file was."""

    path: str  # as given to `open_image`
    name: str  # the file's name without its suffix, or the sample's
    format: PixelFormat
    sha256: str  # of the file's bytes, of all of a Zarr folder's files, or of a sample's pixels
    sides: tuple[int, int]  # height and width, upright and cropped
    stored: Read  # gives (h, w, C) in the file's type, before they are turned upright
    orientation: Orientation

    @property
    def n_channels(self) -> int:
        """Channels C."""
        return self.format.channels

    def read_stored(self, region: Region) -> NDArray[Any]:
        """Values in an upright region, (h, w, C) in the file's type; may be a view."""
        index = slices(self.orientation.stored(region, self.sides))
        with errors_about(repr(self.path)):
            return self.orientation.upright(self.stored(index))

    def read(self, region: Region) -> NDArray[np.float32]:
        """Values in a region as a new array, (C, h, w) in [0, 1]; threads may read at once."""
        return self.format.to_unit(self.read_stored(region).transpose(2, 0, 1))

    @property
    def pixels(self) -> NDArray[np.float32]:
        """All of a small image, (C, H, W) in [0, 1], computed at each call."""
        return self.read(whole(self.sides))


def inspect_image(path: str, max_pixels: int, crop_px: int | None = None) -> OpenedFile:
    """What `open_image` gives, with its sides, and refuses, without decoding pixels."""
    opened, box = _open(path, max_pixels, crop_px)
    return replace(opened, sides=sides_of(box))


def open_image(
    path: str, max_pixels: int, crop_px: int | None = None, scratch: Scratch = _IN_MEMORY
) -> SourceImage:
    """Open a file (`~` is expanded), a Zarr array's folder, or `sample:NAME`.

    The content determines the format: PNG, JPEG, TIFF, WebP, AVIF, GIF, OpenEXR, `.npy` or Zarr.
    Values are kept as stored, without ICC profiles, and alpha is one more channel. Palettes and
    1-bit values are expanded to 8 bits; signed, 32- and 64-bit integers, float16 and float64 are
    read as float32; CMYK and Lab are converted to sRGB. Of several pages or parts the first is
    read, upright. Floats outside [0, 1] are mapped from their range. With `crop_px` only the middle
    of the image is read, at most that many pixels a side.

    With a scratch folder, memory does not grow with the image (but interlaced PNG, progressive
    JPEG, WebP, AVIF and GIF are decoded whole).

    Raises `ImageError` if the path names no readable local file, the content is damaged, unknown,
    of more than `max_pixels` pixels or not finite, or there is no space for its pixels.
    """
    opened, box = _open(path, max_pixels, crop_px)
    for remark in opened.remarks:
        logger.warning("%r %s", path, remark)
    height, width = sides_of(box)
    turn, format = opened.orientation, PixelFormat.of_values(opened.dtype, opened.n_channels)
    with errors_about(repr(path)):
        digest = image_digest(path)
        stored = opened.load(turn.stored(box, opened.sides), scratch)
    image = SourceImage(path, opened.name, format, digest, (height, width), stored, turn)
    if opened.dtype != "float32":
        return image
    low, high = _finite_range(image)
    return replace(image, format=PixelFormat.of_values("float32", opened.n_channels, low, high))


def _open(path: str, max_pixels: int, crop_px: int | None) -> tuple[OpenedFile, Region]:
    """Open a file, refuse what is too large, and find the upright region to be read."""
    opened = open_file(path)
    (height, width), n_channels = opened.sides, opened.n_channels
    n_pixels, sides = height * width, f"{width} x {height}"
    if min(height, width, n_channels) < 1:
        problem = f"{sides} pixels of {n_channels} channels: it is empty; export it again"
    elif n_pixels > max_pixels:
        remedy = f"raise image.max_pixels to {n_pixels} or more"
        problem = f"{sides} = {n_pixels} pixels, more than image.max_pixels={max_pixels}: {remedy}"
    elif n_channels > _MAX_CHANNELS:
        problem = f"{n_channels} channels, more than {_MAX_CHANNELS}: keep those that matter"
    else:
        most = crop_px or max(height, width)
        firsts = [max(0, side - most) // 2 for side in opened.sides]
        box = tuple((n, n + min(side, most)) for n, side in zip(firsts, opened.sides, strict=True))
        return opened, box
    raise ImageError(f"{path!r} has {problem}")


def _finite_range(image: SourceImage) -> tuple[float, float]:
    """Least and largest stored value; refuses NaN and infinite values."""
    low, high, n_nan, n_bad = math.inf, -math.inf, 0, 0
    first = [*image.sides, image.n_channels]
    for region in tiles(image.sides, max(1, math.isqrt(_TILE_VALUES // image.n_channels))):
        values = image.read_stored(region)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            n_nan, n_bad = n_nan + int(np.isnan(values).sum()), n_bad + len(bad)
            first = min(first, (bad[0] + [region[0][0], region[1][0], 0]).tolist())
    if n_bad:
        where = f"row {first[0]}, column {first[1]}, channel {first[2]} (from 0)"
        raise ImageError(
            f"{image.path!r} holds {n_nan} NaN and {n_bad - n_nan} infinite values, the first at "
            f"{where}: every value must be finite in float32; replace them, say with 0"
        )
    return low, high
