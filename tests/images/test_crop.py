"""Only the middle of an image, as if the whole had been read and cut."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import tifffile
from PIL import Image

from miner.images import inspect_image, load_sample, open_image
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

LIMIT = 10**6
SIZES = [(20, 24), (21, 25), (7, 24), (1, 9)]


def save(path: Path, height: int, width: int, **options: object) -> Path:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(values).save(path, **options)
    return path


def middle(pixels: np.ndarray, side: int) -> np.ndarray:
    """Cut (C, H, W) by hand; what cannot be halved is left over at the end."""
    height, width = pixels.shape[1:]
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return pixels[:, top : top + side, left : left + side]


def check(path: str, side: int) -> None:
    whole, cropped = open_image(path, LIMIT), open_image(path, LIMIT, side)
    np.testing.assert_array_equal(cropped.pixels, middle(whole.pixels, side))
    with TemporaryDirectory() as folder, Scratch(Path(folder)) as scratch:
        in_file = open_image(path, LIMIT, side, scratch)
        np.testing.assert_array_equal(in_file.pixels, cropped.pixels)
    info = inspect_image(path, LIMIT, side)
    assert (info.channels, info.height_px, info.width_px) == cropped.pixels.shape
    assert (cropped.name, cropped.sha256) == (whole.name, whole.sha256)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("side", [1, 2, 7, 8, 19, 20, 21, 24, 99])
def test_crop_is_the_middle_of_the_whole(tmp_path: Path, size: tuple[int, int], side: int) -> None:
    check(str(save(tmp_path / "a.png", *size)), side)


@pytest.mark.parametrize("side", [4, 5, 11])
def test_any_remainder_is_at_the_end(tmp_path: Path, side: int) -> None:
    ramp = np.arange(12 * 13, dtype=np.uint8).reshape(12, 13)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    first = round(float(open_image(str(tmp_path / "ramp.png"), LIMIT, side).pixels[0, 0, 0]) * 255)
    assert first == ramp[(12 - side) // 2, (13 - side) // 2]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("side", [5, 22])
def test_middle_is_that_of_the_upright_image(tmp_path: Path, orientation: int, side: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    check(str(save(tmp_path / "a.jpg", 20, 24, exif=exif)), side)


@pytest.mark.parametrize("side", [3, 100, 101, 5000])
@pytest.mark.parametrize("name", ["camera", "coffee"])
def test_samples_are_cropped_alike(name: str, side: int) -> None:
    check(f"sample:{name}", side)
    unit = middle(np.atleast_3d(load_sample(name)).transpose(2, 0, 1), side) / np.float32(255)
    np.testing.assert_array_equal(open_image(f"sample:{name}", LIMIT, side).pixels, unit)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_values_of_any_kind_are_cropped(tmp_path: Path, dtype: type) -> None:
    values = np.random.default_rng(0).random((20, 24))
    tifffile.imwrite(
        tmp_path / "a.tif", (values if dtype != np.uint16 else values * 999).astype(dtype)
    )
    check(str(tmp_path / "a.tif"), 7)


def test_range_of_floats_is_that_of_the_middle(tmp_path: Path) -> None:
    values = np.zeros((9, 9), np.float32)
    values[0, 0], values[4, 4] = 100, 0.5
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert open_image(str(tmp_path / "a.tif"), LIMIT, 3).pixels.max() == 0.5


def test_size_is_bounded_before_the_crop(tmp_path: Path) -> None:
    path = str(save(tmp_path / "a.png", 20, 24))
    for read in (inspect_image, open_image):
        with pytest.raises(ImageError, match=r"more than image\.max_pixels=479"):
            read(path, 479, 2)
