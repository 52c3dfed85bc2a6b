"""Odd images open as what they are, and numbers that are none are counted."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from miner.images import PixelFormat, open_image, write_image
from miner.images.checks import finite_range
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

LIMIT = 10**6


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


ODD = {
    "black": np.zeros((1, 9, 9), np.float32),
    "white": np.ones((3, 9, 9), np.float32),
    "noise": noise(3, 50, 60),
    "one pixel": noise(3, 1, 1),
    "one row": noise(3, 1, 999),
    "one column": noise(1, 999, 1),
    "a ribbon": noise(3, 3, 20000),
    "a pole": noise(1, 20000, 3),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_any_shape_and_content_is_kept(
    tmp_path: Path, scratch: Scratch, kind: str, dtype: str
) -> None:
    format = PixelFormat.of_values(dtype, len(ODD[kind]))
    path = write_image(tmp_path / "a", ODD[kind], format)
    image = open_image(str(path), LIMIT, scratch=scratch)
    np.testing.assert_array_equal(image.format.from_unit(image.pixels), format.from_unit(ODD[kind]))
    assert (image.n_channels, *image.sides) == ODD[kind].shape


@pytest.mark.parametrize("low", [-3e38, -1e4, 0.5])
def test_high_dynamic_range_fills_the_unit_range(
    tmp_path: Path, scratch: Scratch, low: float
) -> None:
    values = np.array([[low, 0.75, 2e38]], np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values)
    image = open_image(str(tmp_path / "a.tif"), LIMIT, scratch=scratch)
    assert (image.pixels.min(), image.pixels.max()) == (0, 1)
    np.testing.assert_allclose(image.format.from_unit(image.pixels)[0], values, atol=1e32)


def test_what_is_not_finite_is_counted_and_placed(tmp_path: Path, scratch: Scratch) -> None:
    values = noise(40, 50, 3)
    values[30, 7, 2], values[30, 8, 0], values[39, 0, 1] = np.nan, np.inf, -np.inf
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    with pytest.raises(ImageError) as caught:
        open_image(str(tmp_path / "a.tif"), LIMIT, scratch=scratch)
    message = str(caught.value)
    assert "1 NaN and 2 infinite values, the first at row 30, column 7, channel 2" in message
    assert message.endswith("replace them, say with 0")
    assert "\n" not in message


def test_the_first_is_the_uppermost_whatever_the_tiles() -> None:
    values = np.zeros((3000, 3000, 1), np.float32)
    values[1500, 100] = values[7, 2500] = np.nan
    with pytest.raises(ImageError, match="row 7, column 2500, channel 0"):
        finite_range("a", lambda box: values[tuple(slice(*b) for b in box)], (3000, 3000), 1)


def test_nan_outside_the_crop_does_not_matter(tmp_path: Path, scratch: Scratch) -> None:
    values = noise(40, 50)
    values[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values)
    image = open_image(str(tmp_path / "a.tif"), LIMIT, 10, scratch)
    np.testing.assert_array_equal(image.pixels[0], values[15:25, 20:30])
