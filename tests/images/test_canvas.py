"""A canvas is filled in pieces of any order and written whole or not at all."""

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.images import PixelCanvas, PixelFormat, canvas, open_image
from miner.images.encode import RawTiff
from miner.signals.regions import slices, tiles, whole
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

LIMIT = 10**6
RGB = PixelFormat.of_values("uint8", 3)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


def painted(unit: np.ndarray, format: PixelFormat, scratch: Scratch) -> PixelCanvas:
    """Fill by tiles, in any order."""
    made = PixelCanvas(format, *unit.shape[1:], scratch)
    parts = list(tiles(unit.shape[1:], 7))
    random.Random(0).shuffle(parts)
    for region in parts:
        made.fill(region, unit[(slice(None), *slices(region))])
    return made


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".npy", ".exr"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_what_is_written_opens_again(
    tmp_path: Path, scratch: Scratch, dtype: str, channels: int, suffix: str
) -> None:
    unit, path = noise(channels, 19, 23), tmp_path / f"a{suffix}"
    format = PixelFormat.of_values(dtype, channels)
    made = painted(unit, format, scratch)
    if (suffix == ".exr" and dtype != "float32") or (
        suffix == ".png" and (dtype == "float32" or channels > 4)
    ):
        with pytest.raises(ImageError, match=r"name a \.(png or \.)?tif"):
            made.save(path)
        return
    assert made.save(path) == path
    image = open_image(str(path), LIMIT)
    np.testing.assert_array_equal(image.format.from_unit(image.pixels), format.from_unit(unit))
    assert image.format == format


@settings(max_examples=15)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["uint8", "uint16", "float32"]))
def test_any_size_is_streamed_from_a_file(height: int, width: int, dtype: str) -> None:
    unit, format = noise(1, height, width), PixelFormat.of_values(dtype, 1)
    with tempfile.TemporaryDirectory() as name, Scratch(Path(name) / "scratch") as scratch:
        made = PixelCanvas(format, height, width, scratch)
        made.fill(whole((height, width)), unit)
        image = open_image(str(made.save(Path(name) / "a.tif")), LIMIT)
    np.testing.assert_array_equal(image.format.from_unit(image.pixels), format.from_unit(unit))


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".avif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossy_files_come_close(
    tmp_path: Path, scratch: Scratch, suffix: str, channels: int
) -> None:
    ramp = np.linspace(0, 1, 40 * 50, dtype=np.float32).reshape(1, 40, 50).repeat(channels, 0)
    made = painted(ramp, PixelFormat.of_values("uint8", channels), scratch)
    again = open_image(str(made.save(tmp_path / f"a{suffix}")), LIMIT)
    np.testing.assert_allclose(again.pixels[:channels], ramp, atol=0.03)


def test_high_dynamic_range_is_written_as_it_was(tmp_path: Path, scratch: Scratch) -> None:
    format = PixelFormat.of_values("float32", 3, -2.0, 1000.0)
    unit = noise(3, 19, 23)
    image = open_image(str(painted(unit, format, scratch).save(tmp_path / "a.exr")), LIMIT)
    values = image.format.from_unit(image.pixels)
    np.testing.assert_allclose(values, format.from_unit(unit), atol=1e-4)


def test_tiff_is_tiled(tmp_path: Path, scratch: Scratch) -> None:
    path = painted(noise(3, 19, 23), RGB, scratch).save(tmp_path / "a.tif")
    assert pyvips.Image.new_from_file(str(path)).get("tile-width") == 256


def test_values_are_clipped_and_rounded(tmp_path: Path, scratch: Scratch) -> None:
    made = PixelCanvas(PixelFormat.of_values("uint8", 1), 1, 3, scratch)
    made.fill(((0, 1), (0, 3)), np.array([[[-1, 0.5, 7]]], np.float32))
    image = open_image(str(made.save(tmp_path / "a.png")), LIMIT)
    assert image.format.from_unit(image.pixels).tolist() == [[[0, 128, 255]]]


@pytest.mark.parametrize("shape", [(3, 2, 2), (1, 3, 2), (2, 3)])
def test_a_piece_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    made = PixelCanvas(RGB, 9, 9, Scratch(None))
    with pytest.raises(ImageError, match=r"pixels of shape .*\(\(0, 2\), \(0, 3\)\): give"):
        made.fill(((0, 2), (0, 3)), np.zeros(shape, np.float32))


def test_nan_is_refused() -> None:
    made = PixelCanvas(RGB, 1, 1, Scratch(None))
    with pytest.raises(ImageError, match="values are NaN"):
        made.fill(((0, 1), (0, 1)), np.full((3, 1, 1), np.nan, np.float32))


def test_odd_names_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "é [n=-1] (2)"
    format = PixelFormat.of_values("float32", 1)
    with Scratch(folder / "scratch") as scratch:
        made = painted(noise(1, 5, 7), format, scratch)
        for suffix in (".tif", ".exr", ".npy"):
            assert open_image(str(made.save(folder / f"b[1]{suffix}")), LIMIT).sides == (5, 7)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".exr", ".npy"])
def test_a_full_disk_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scratch: Scratch, suffix: str
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")

    @contextmanager
    def on_full_disk(_: Path) -> Iterator[Path]:
        yield Path("/dev/full")

    monkeypatch.setattr(canvas, "atomic_write", on_full_disk)
    made = painted(noise(3, 200, 200), PixelFormat.of_values("float32", 3), scratch)
    if suffix == ".png":
        made = painted(noise(3, 200, 200), RGB, Scratch(None))
    with pytest.raises(ImageError, match=r"cannot be written \(No space left\).*1 MiB and \d+ MiB"):
        made.save(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_a_failure_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    made = painted(noise(3, 9, 9), RGB, Scratch(None))
    path = made.save(tmp_path / f"a{suffix}")
    before = path.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(canvas, "save_array", refuse)
    with pytest.raises(ImageError, match=r"cannot be written \(.*Input/output error"):
        made.save(path)
    assert (list(tmp_path.iterdir()), path.read_bytes()) == ([path], before)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_an_error_while_pixels_are_streamed_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, name: str
) -> None:
    read, calls = RawTiff._read, []

    def failing(self: RawTiff, size: int) -> bytes:
        calls.append(size)
        if len(calls) == 3:
            raise error
        return read(self, min(size, 4096))

    with Scratch(tmp_path / "scratch") as scratch:
        canvas = PixelCanvas(PixelFormat.of_values("uint8", 3), 200, 300, scratch)
        canvas.fill(((0, 200), (0, 300)), np.full((3, 200, 300), 0.5, np.float32))
        monkeypatch.setattr(RawTiff, "_read", failing)
        with pytest.raises((ImageError, KeyboardInterrupt)):
            canvas.save(tmp_path / name)
    assert not (tmp_path / name).exists()
