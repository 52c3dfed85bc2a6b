"""Any region reads as a cut of the whole, from memory and from files."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from miner.images import SourceImage, open_image
from miner.images.pixel_format import Orientation
from miner.signals.regions import Region, slices, tiles
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

LIMIT = 10**6
Save = Callable[[Path, np.ndarray], None]


def draw(height: int = 33, width: int = 47) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def save_turned(path: Path, values: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
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
def test_regions_are_cuts_of_the_whole(tmp_path: Path, scratch: Scratch, kind: str) -> None:
    path = tmp_path / f"a.{kind.split()[-1]}"
    SAVES[kind](path, draw())
    image = open_image(str(path), LIMIT, scratch=scratch)
    whole = image.pixels
    for region in tiles(image.sides, 20):
        part = image.read(region)
        np.testing.assert_array_equal(part, whole[(slice(None), *slices(region))])
        assert part.dtype == np.float32
        assert part.flags.c_contiguous


@st.composite
def regions(draw: st.DrawFn) -> tuple[tuple[int, int], Region]:
    sides = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    box = []
    for side in sides:
        first = draw(st.integers(0, side - 1))
        box.append((first, draw(st.integers(first + 1, side))))
    return sides, tuple(box)


@given(st.integers(1, 8), regions())
def test_turning_a_region_is_cutting_the_turned(
    number: int, places: tuple[tuple[int, int], Region]
) -> None:
    stored_sides, region = places
    orientation = Orientation.of_exif(number)
    stored = np.arange(np.prod(stored_sides)).reshape(*stored_sides, 1)
    upright = orientation.upright(stored)
    assert upright.shape[:2] == orientation.upright_sides(stored_sides)
    sides = upright.shape[0], upright.shape[1]
    region = tuple((min(a, n - 1), max(min(b, n), min(a, n - 1) + 1))
                   for (a, b), n in zip(region, sides, strict=True))  # fmt: skip
    part = orientation.upright(stored[slices(orientation.stored(region, sides))])
    np.testing.assert_array_equal(part, upright[slices(region)])


@pytest.mark.parametrize("number", [0, 9, 65535])
def test_unknown_orientations_leave_the_image(number: int) -> None:
    assert Orientation.of_exif(number) == Orientation.of_exif(1)


def test_threads_may_read_at_once(tmp_path: Path, scratch: Scratch) -> None:
    save_turned(tmp_path / "a.png", draw(200, 300))
    image = open_image(str(tmp_path / "a.png"), LIMIT, scratch=scratch)
    parts = list(tiles(image.sides, 17))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(image.read, parts))
    for region, part in zip(parts, found, strict=True):
        np.testing.assert_array_equal(part, image.read(region))


def test_what_is_read_belongs_to_the_reader(tmp_path: Path, scratch: Scratch) -> None:
    np.save(tmp_path / "a.npy", np.ones((5, 7), np.float32))
    image = open_image(str(tmp_path / "a.npy"), LIMIT, scratch=scratch)
    image.read(((0, 5), (0, 7)))[:] = 0
    assert (image.pixels == 1).all()


class FullScratch(Scratch):
    def array(self, *_: object) -> np.ndarray:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("kind", ["png", "double tif"])
def test_a_full_disk_says_what_is_needed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind[-3:]}"
    SAVES[kind](path, draw(999, 999))
    with pytest.raises(ImageError, match=r"no room for \d+ MiB of pixels \(No space left"):
        open_image(str(path), LIMIT, scratch=FullScratch(None))


def test_a_crop_takes_room_for_itself_alone(tmp_path: Path) -> None:
    SAVES["png"](tmp_path / "a.png", draw(500, 500))
    with Scratch(tmp_path / "scratch") as scratch:
        image: SourceImage = open_image(str(tmp_path / "a.png"), LIMIT, 10, scratch)
        assert image.sides == (10, 10)
        assert (tmp_path / "scratch" / "image.npy").stat().st_size < 1000
