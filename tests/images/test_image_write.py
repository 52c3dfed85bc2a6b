"""What is written is what opens again."""

import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.images import PixelFormat, open_image, write_image
from miner.support.errors import ImageError

BYTES_RGB = PixelFormat.of_values("uint8", 3)
BYTES_GREY = PixelFormat.of_values("uint8", 1)


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    channels=st.integers(1, 6),
    height_px=st.integers(1, 40),
    width_px=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_round_trip_is_exact(
    dtype: str, channels: int, height_px: int, width_px: int, seed: int
) -> None:
    rng, shape = np.random.default_rng(seed), (channels, height_px, width_px)
    if dtype == "float32":
        values = rng.random(shape, np.float32)
    else:
        values = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    format = PixelFormat.of_values(dtype, channels)
    with tempfile.TemporaryDirectory() as folder:
        path = write_image(Path(folder) / "image", format.to_unit(values), format)
        again = open_image(str(path), 1600)
    np.testing.assert_array_equal(again.format.from_unit(again.pixels), values)
    assert again.format == format


@settings(max_examples=200)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=20)
)
def test_any_floats_come_back_within_rounding(numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    low, high = float(values.min()), float(values.max())
    format = PixelFormat.of_values("float32", 1, low, high)
    unit = format.to_unit(values)
    assert 0 <= unit.min() <= unit.max() <= 1
    error = np.abs(format.from_unit(unit).astype(float) - values)
    assert error.max() <= 2**-23 * max(high - low, abs(low), abs(high))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_integer_survives_the_unit_range(dtype: str) -> None:
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    format = PixelFormat.of_values(dtype, 1)
    np.testing.assert_array_equal(format.from_unit(format.to_unit(values)), values)


def test_values_outside_the_unit_range_are_clipped() -> None:
    unit = np.array([-0.1, 0.0, 1.0, 7.0, np.inf])
    assert BYTES_GREY.from_unit(unit).tolist() == [0, 0, 255, 255, 255]


def test_arguments_are_left_alone() -> None:
    unit = np.array([-1.0, 0.5], np.float32)
    BYTES_GREY.from_unit(unit)
    assert unit.tolist() == [-1.0, 0.5]


def test_format_survives_json() -> None:
    format = PixelFormat.of_values("float32", 5, -1.0, 3.5)
    assert PixelFormat(**json.loads(json.dumps(dataclasses.asdict(format)))) == format


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dtype", "int4"),
        ("channels", 0),
        ("interpretation", "cmyk"),
        ("scale", 0.0),
        ("scale", float("nan")),
        ("offset", float("inf")),
    ],
)
def test_format_with_a_wrong_field_is_refused(field: str, value: object) -> None:
    with pytest.raises(ImageError, match=f"pixel format {field}={value!r}: use "):
        dataclasses.replace(BYTES_RGB, **{field: value})


@pytest.mark.parametrize(
    ("given_name", "dtype", "channels", "written"),
    [
        ("a", "uint8", 3, "a.png"),
        ("a.png", "uint16", 4, "a.png"),
        ("a.PNG", "uint8", 1, "a.png"),
        ("a.png", "uint8", 5, "a.tif"),
        ("a.png", "float32", 1, "a.tif"),
        ("a.tif", "float32", 1, "a.tif"),
        ("v1.5", "uint8", 1, "v1.5.png"),
        ("é [n=-1] (2).png", "uint8", 1, "é [n=-1] (2).png"),
        ("é [n=-1] (2)", "float32", 1, "é [n=-1] (2).tif"),
        ("new/folder/a", "uint8", 1, "new/folder/a.png"),
    ],
)
def test_suffix_follows_the_format(
    tmp_path: Path, given_name: str, dtype: str, channels: int, written: str
) -> None:
    format = PixelFormat.of_values(dtype, channels)
    path = write_image(tmp_path / given_name, np.zeros((channels, 2, 3), np.float32), format)
    assert path == tmp_path / written
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_existing_file_is_replaced(tmp_path: Path) -> None:
    for value in (0, 1):
        path = write_image(tmp_path / "a", np.full((1, 2, 2), value, np.float32), BYTES_GREY)
    assert (open_image(str(path), 4).pixels == 1).all()


def test_failure_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.zeros((1, 2, 2), np.float32)
    path = write_image(tmp_path / "a", pixels, BYTES_GREY)
    before = path.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ImageError, match=r"a\.png.*No space left.*check its folder"):
        write_image(path, pixels + 1, BYTES_GREY)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match=r"cannot be written.*check its folder"):
        write_image(tmp_path / "file" / "a", np.zeros((1, 2, 2), np.float32), BYTES_GREY)


def test_nan_is_refused(tmp_path: Path) -> None:
    pixels = np.array([[[0.0, np.nan]]], np.float32)
    with pytest.raises(ImageError, match=r"1 of 2 values are NaN.*lower its learning rate"):
        write_image(tmp_path / "a", pixels, BYTES_GREY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(2, 2), (1, 2, 2), (3, 0, 2)])
def test_shape_that_does_not_fit_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r"pixels of shape \(.*give \(channels, height, width\)"):
        write_image(tmp_path / "a", np.zeros(shape, np.float32), BYTES_RGB)


def test_no_pixels_allowed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="max_pixels=0: a preview needs 1 pixel or more"):
        write_image(tmp_path / "a", np.zeros((3, 2, 2), np.float32), BYTES_RGB, max_pixels=0)


def test_large_image_becomes_a_preview_of_means(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small = np.arange(6, dtype=np.float32).reshape(1, 2, 3) / 255
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    large[:, ::2] += 2 / 255
    large[:, 1::2] -= 2 / 255
    ragged = np.pad(large + 4 / 255, ((0, 0), (0, 3), (0, 1)))
    path = write_image(tmp_path / "a", ragged, BYTES_GREY, max_pixels=6)
    preview = BYTES_GREY.from_unit(open_image(str(path), 6).pixels)
    np.testing.assert_array_equal(preview[0], [[4, 5, 6], [7, 8, 9]])
    assert "preview at 1/4 of the size" in caplog.text


@pytest.mark.parametrize("shape", [(1, 100), (100, 1), (7, 90), (64, 64)])
@pytest.mark.parametrize("max_pixels", [1, 5, 30])
def test_preview_of_any_shape_fits(tmp_path: Path, shape: tuple[int, int], max_pixels: int) -> None:
    pixels = np.zeros((1, *shape), np.float32)
    path = write_image(tmp_path / "a", pixels, BYTES_GREY, max_pixels)
    assert 1 <= open_image(str(path), max_pixels).pixels.size <= max_pixels
