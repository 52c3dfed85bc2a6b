"""Writing an image in the bit depth and channels of its source."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from miner.files import written_whole
from miner.images.errors import ImageError
from miner.images.pixel_format import PixelFormat

if TYPE_CHECKING:
    import pyvips

logger = logging.getLogger(__name__)


def write_image(
    path: Path, pixels: NDArray[np.float32], format: PixelFormat, max_pixels: int = 2**28
) -> Path:
    """Write (C, H, W) in [0, 1] as PNG, or as TIFF if float32 or of more than 4 channels.

    The suffix of `path` (.png, .tif or none) is set accordingly; gives the path written. The file
    appears whole or not at all; its folder is made. Above `max_pixels` pixels a preview is written
    instead, smaller by a whole factor, each pixel the mean of those it replaces.

    Raises `ImageError` if the shape does not fit `format`, a value is NaN, `max_pixels` is below
    1, or the file cannot be written.
    """
    if pixels.ndim != 3 or len(pixels) != format.channels or pixels.size == 0:
        raise ImageError(
            f"pixels of shape {pixels.shape}: give (channels, height, width), "
            f"with the {format.channels} channels of the format"
        )
    if max_pixels < 1:
        raise ImageError(f"max_pixels={max_pixels}: a preview needs 1 pixel or more")
    is_png = format.dtype != "float32" and format.channels <= 4
    stem = path.stem if path.suffix.lower() in (".png", ".tif") else path.name
    path = path.with_name(stem + (".png" if is_png else ".tif"))
    factor = _preview_factor(pixels.shape[1], pixels.shape[2], max_pixels)
    if factor > 1:
        logger.warning("%s is a preview at 1/%d of the size: image too large", path, factor)
        pixels = _shrink(pixels, factor)
    _save(path, format.from_unit(pixels), format.interpretation)
    return path


def _preview_factor(height_px: int, width_px: int, max_pixels: int) -> int:
    """Find the least factor that brings the size to `max_pixels` or fewer."""
    return next(
        factor
        for factor in itertools.count(1)
        if max(1, height_px // factor) * max(1, width_px // factor) <= max_pixels
    )


def _shrink(pixels: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Average (C, H, W) over squares of `factor` pixels; an incomplete last one is dropped."""
    channels, height_px, width_px = pixels.shape
    rows, columns = min(factor, height_px), min(factor, width_px)
    height_px, width_px = height_px // rows, width_px // columns
    whole = pixels[:, : height_px * rows, : width_px * columns]
    squares = whole.reshape(channels, height_px, rows, width_px, columns)
    mean: NDArray[np.float32] = squares.mean(axis=(2, 4))
    return mean


def _save(path: Path, values: NDArray[Any], interpretation: str) -> None:
    """Write (C, H, W) under a temporary name in the same folder, then rename the file."""
    import pyvips

    image = pyvips.Image.new_from_array(np.ascontiguousarray(values.transpose(1, 2, 0)))
    image = image.copy(interpretation=interpretation)
    options = {} if path.suffix == ".png" else _tiff_options(values)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_target(path, image, options)
    except (OSError, pyvips.Error) as error:
        reason = " ".join(str(error).split())
        raise ImageError(
            f"{str(path)!r} cannot be written ({reason}): check its folder and the free space"
        ) from error


def _write_target(path: Path, image: pyvips.Image, options: dict[str, Any]) -> None:
    import pyvips

    # a descriptor, as pyvips wants names in UTF-8; readable, as TIFF is read back
    with written_whole(path) as scratch, scratch.open("w+b") as stream:
        target = pyvips.Target.new_to_descriptor(stream.fileno())
        image.write_to_target(target, path.suffix, **options)


def _tiff_options(values: NDArray[Any]) -> dict[str, Any]:
    predictor = "float" if values.dtype == np.float32 else "horizontal"
    return {
        "compression": "deflate",
        "predictor": predictor,
        "bigtiff": values.nbytes >= 2**31,  # plain TIFF ends at 4 GiB
    }
