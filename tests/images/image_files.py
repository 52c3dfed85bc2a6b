"""What the tests of images share: values to store, files written, messages of refusals."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from miner.images.encode import PixelCanvas
from miner.images.pixel_format import PixelFormat
from miner.images.source import open_image
from miner.images.source_image import SourceImage
from miner.signals.regions import slices, tiles
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

LIMIT = 10**6


def noise(*shape: int) -> np.ndarray:
    """Random floats in [0, 1)."""
    return np.random.default_rng(0).random(shape, np.float32)


def integers(*shape: int, dtype: str = "uint8", top: int | None = None) -> np.ndarray:
    """Random integers up to and including `top`, by default the type's largest."""
    top = np.iinfo(dtype).max if top is None else top
    values = np.random.default_rng(0).integers(0, top, shape, dtype, endpoint=True)
    values.flat[0], values.flat[-1] = 0, top
    return values


def stored(image: SourceImage) -> np.ndarray:
    """The pixels (H, W, C) in the type of the file."""
    return image.format.from_unit(image.read()).transpose(1, 2, 0)


def painted(unit: np.ndarray, format: PixelFormat, scratch: Scratch) -> PixelCanvas:
    """A canvas filled by tiles, in any order."""
    canvas = PixelCanvas(format, unit.shape[1:], scratch)
    parts = list(tiles(unit.shape[1:], max(7, max(unit.shape[1:]) // 5)))
    random.Random(0).shuffle(parts)
    for region in parts:
        canvas.fill(region, unit[(slice(None), *slices(region))])
    return canvas


def check_reopened(path: Path, unit: np.ndarray, format: PixelFormat) -> None:
    is_of_type = format == PixelFormat.of_values(format.dtype, format.channels)
    axes, value_range = "HWC" if path.suffix == ".npy" else None, "dtype" if is_of_type else "auto"
    image = open_image(str(path), LIMIT, axes=axes, value_range=value_range)
    np.testing.assert_array_equal(image.format.from_unit(image.read()), format.from_unit(unit))
    assert replace(image.format, metadata=format.metadata) == format


def complaint(
    path: Path | str,
    read: Callable[..., object] = open_image,
    max_pixels: int = LIMIT,
    scratch: Scratch | None = None,
) -> str:
    """The message of a refusal, which must be one line that names the path."""
    options = {} if scratch is None else {"scratch": scratch}
    with pytest.raises(ImageError) as caught:
        read(str(path), max_pixels, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert repr(str(path).removeprefix("sample:")) in message.replace("sample:", "")
    return message
