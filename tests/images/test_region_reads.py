"""Any region reads as a cut of the whole, from memory and from files."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import tifffile
from image_files import LIMIT, integers
from PIL import Image

from miner.images.source import inspect_image, load_sample, open_image
from miner.signals.regions import slices, tiles
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

Save = Callable[[Path, np.ndarray], None]


def draw(height: int, width: int) -> np.ndarray:
    return integers(height, width, 3)


def save_turned(path: Path, values: np.ndarray, orientation: int = 6) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(values).save(path, exif=exif)


SAVES: dict[str, Save] = {
    "png": lambda path, values: Image.fromarray(values).save(path),
    "turned png": save_turned,
    "jpg": lambda path, values: Image.fromarray(values).save(path),
    "strips tif": lambda path, values: tifffile.imwrite(path, values, rowsperstrip=5),
    "tiles tif": lambda path, values: tifffile.imwrite(path, values, tile=(16, 16)),
    "double tif": lambda path, values: tifffile.imwrite(
        path, values / 255, tile=(16, 16), photometric="rgb"
    ),
    "npy": np.save,
}


@pytest.mark.parametrize("kind", SAVES)
def test_regions_read_by_threads_are_cuts_of_the_whole(
    tmp_path: Path, scratch: Scratch, kind: str
) -> None:
    path = tmp_path / f"a.{kind.split()[-1]}"
    SAVES[kind](path, draw(100, 150))
    image = open_image(str(path), LIMIT, scratch=scratch)
    whole, regions = image.read(), list(tiles(image.sides, 17))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(image.read, regions))
    for region, part in zip(regions, parts, strict=True):
        np.testing.assert_array_equal(part, whole[(slice(None), *slices(region))])
        assert part.dtype == np.float32
        assert part.flags.c_contiguous


def test_what_is_read_belongs_to_the_reader(tmp_path: Path, scratch: Scratch) -> None:
    np.save(tmp_path / "a.npy", np.ones((5, 7), np.float32))
    image = open_image(str(tmp_path / "a.npy"), LIMIT, scratch=scratch)
    image.read(((0, 5), (0, 7)))[:] = 5
    assert (image.format.from_unit(image.read()) == 1).all()


class FullScratch(Scratch):
    def array(self, *_: object) -> np.ndarray:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("kind", ["png", "double tif"])
def test_a_full_disk_says_what_is_needed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind[-3:]}"
    SAVES[kind](path, draw(999, 999))
    with pytest.raises(ImageError, match=r"needs \d+ MiB for its pixels \(No space left"):
        open_image(str(path), LIMIT, scratch=FullScratch(None))


@pytest.mark.parametrize("kind", ["png", "double tif"])
def test_a_crop_takes_space_for_itself_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind[-3:]}"
    SAVES[kind](path, draw(500, 500))
    with Scratch(tmp_path / "scratch") as scratch:
        assert open_image(str(path), LIMIT, 10, scratch).sides == (10, 10)
        assert (tmp_path / "scratch" / "image.npy").stat().st_size < 2000


def middle(pixels: np.ndarray, side: int) -> np.ndarray:
    """Cut (C, H, W) by hand; what cannot be halved is left over at the end."""
    height, width = pixels.shape[1:]
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return pixels[:, top : top + side, left : left + side]


def check_crop(path: Path | str, side: int) -> None:
    read = partial(open_image, str(path), LIMIT, value_range="dtype")
    whole, cropped = read(), read(side)
    np.testing.assert_array_equal(cropped.read(), middle(whole.read(), side))
    with TemporaryDirectory() as folder, Scratch(Path(folder)) as scratch:
        in_file = read(side, scratch)
        np.testing.assert_array_equal(in_file.read(), cropped.read())
    info = inspect_image(str(path), LIMIT, side)
    assert (info.n_channels, *info.sides) == cropped.read().shape
    assert (cropped.name, cropped.sha256) == (whole.name, whole.sha256)


@pytest.mark.parametrize("size", [(20, 24), (21, 25), (7, 24), (1, 9)], ids=str)
@pytest.mark.parametrize("side", [1, 2, 7, 8, 19, 20, 21, 24, 99])
def test_crop_is_the_middle_of_the_whole(tmp_path: Path, size: tuple[int, int], side: int) -> None:
    SAVES["png"](tmp_path / "a.png", draw(*size))
    check_crop(tmp_path / "a.png", side)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("side", [5, 22])
def test_middle_is_that_of_the_upright_image(tmp_path: Path, orientation: int, side: int) -> None:
    save_turned(tmp_path / "a.jpg", draw(20, 24), orientation)
    check_crop(tmp_path / "a.jpg", side)


@pytest.mark.parametrize("side", [3, 100, 101, 5000])
@pytest.mark.parametrize("name", ["camera", "coffee"])
def test_samples_are_cropped_alike(name: str, side: int) -> None:
    check_crop(f"sample:{name}", side)
    unit = middle(np.atleast_3d(load_sample(name)).transpose(2, 0, 1), side) / np.float32(255)
    np.testing.assert_array_equal(open_image(f"sample:{name}", LIMIT, side).read(), unit)


@pytest.mark.parametrize("side", [1, 7, 18])
@pytest.mark.parametrize("options", [{}, {"rowsperstrip": 3}, {"tile": (16, 16)}], ids=str)
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_values_of_any_kind_are_cropped(
    tmp_path: Path, dtype: type, options: dict[str, Any], side: int
) -> None:
    values = integers(20, 44, dtype="uint16", top=1000)
    values = (values if dtype == np.uint16 else values / 1000).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    check_crop(tmp_path / "a.tif", side)


def test_range_of_floats_is_that_of_the_middle(tmp_path: Path) -> None:
    values = np.zeros((9, 9), np.float32)
    values[0, 0], values[0, 1], values[4, 4] = 100, np.nan, 0.5
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert open_image(str(tmp_path / "a.tif"), LIMIT, 3).format.data_range == (0, 0.5)


def test_size_is_bounded_before_the_crop(tmp_path: Path) -> None:
    SAVES["png"](tmp_path / "a.png", draw(20, 24))
    for read in (inspect_image, open_image):
        with pytest.raises(ImageError, match=r"more than image\.max_pixels=479"):
            read(str(tmp_path / "a.png"), 479, 2)
