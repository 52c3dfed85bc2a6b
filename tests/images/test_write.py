"""Images are filled in pieces, written whole or not at all, and open again as what they were."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from image_files import LIMIT, check_reopened, noise, painted

from miner.images.arrays import open_values
from miner.images.encode import PixelCanvas, check_writable_format
from miner.images.pixel_format import PixelFormat
from miner.images.source import open_image
from miner.signals.regions import whole
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

RGB, GREY = PixelFormat.of_values("uint8", 3), PixelFormat.of_values("uint8", 1)
FLOATS = PixelFormat.of_values("float32", 3)
DTYPES = ["uint8", "uint16", "float32"]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".npy", ".exr"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_written_opens_again(
    tmp_path: Path, scratch: Scratch, dtype: str, channels: int, suffix: str
) -> None:
    unit, path = noise(channels, 19, 23), tmp_path / f"a{suffix}"
    format = PixelFormat.of_values(dtype, channels)
    if (suffix == ".exr" and dtype != "float32") or (
        suffix == ".png" and (dtype == "float32" or channels > 4)
    ):
        with pytest.raises(ImageError, match=r"name a \.(png or \.)?tif"):
            check_writable_format(path, format, 19, 23)
        return
    path.write_bytes(b"old")
    assert painted(unit, format, scratch).save(path) == path
    check_reopened(path, unit, format)


SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 300), st.integers(1, 300))


@settings(max_examples=40)
@example("uint8", (3, 3, 20000), True)
@example("float32", (1, 20000, 3), True)
@given(st.sampled_from(DTYPES), SHAPES, st.booleans())
def test_any_size_opens_again(dtype: str, shape: tuple[int, ...], in_file: bool) -> None:
    unit, format = noise(*shape), PixelFormat.of_values(dtype, shape[0])
    with tempfile.TemporaryDirectory() as name:
        with Scratch(Path(name) / "scratch" if in_file else None) as scratch:
            path = painted(unit, format, scratch).save(Path(name) / "a.tif")
        check_reopened(path, unit, format)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".avif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossy_files_match(tmp_path: Path, scratch: Scratch, suffix: str, channels: int) -> None:
    ramp = np.linspace(0, 1, 40 * 50, dtype=np.float32).reshape(1, 40, 50).repeat(channels, 0)
    canvas = painted(ramp, PixelFormat.of_values("uint8", channels), scratch)
    again = open_image(str(canvas.save(tmp_path / f"a{suffix}")), LIMIT)
    np.testing.assert_allclose(again.read()[:channels], ramp, atol=0.03)


def test_high_dynamic_range_is_written_as_it_was(tmp_path: Path, scratch: Scratch) -> None:
    format, unit = PixelFormat.of_values("float32", 3, (-2.0, 1000.0)), noise(3, 19, 23)
    image = open_image(str(painted(unit, format, scratch).save(tmp_path / "a.exr")), LIMIT)
    values = image.format.from_unit(image.read())
    np.testing.assert_allclose(values, format.from_unit(unit), atol=1e-4)


def test_tiff_is_tiled_and_its_floats_suit_other_readers(tmp_path: Path, scratch: Scratch) -> None:
    unit = noise(3, 19, 23)
    path = painted(unit, FLOATS, scratch).save(tmp_path / "a.tif")
    assert pyvips.Image.new_from_file(str(path)).get("tile-width") == 256
    np.testing.assert_array_equal(tifffile.imread(path), unit.transpose(1, 2, 0))


def test_odd_names_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "é [n=-1] (2)"
    with Scratch(folder / "scratch") as scratch:
        canvas = painted(noise(3, 5, 7), FLOATS, scratch)
        for suffix in (".tif", ".exr", ".npy"):
            assert open_image(str(canvas.save(folder / f"b[1]{suffix}")), LIMIT).sides == (5, 7)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("suffix", [".png", ".tif", ".exr", ".npy"])
def test_a_full_disk_is_reported_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scratch: Scratch, suffix: str
) -> None:
    path, opening = tmp_path / f"a{suffix}", Path.open
    path.write_bytes(b"old")

    def on_full_disk(file: Path, mode: str = "r", *rest: object) -> object:
        return opening(Path("/dev/full") if "w" in mode else file, mode, *rest)

    monkeypatch.setattr(Path, "open", on_full_disk)
    canvas = painted(noise(3, 200, 200), RGB if suffix == ".png" else FLOATS, scratch)
    with pytest.raises(ImageError, match=r"cannot be written \(.*No space left.*take 1 MiB"):
        canvas.save(path)
    monkeypatch.undo()
    assert [file for file in tmp_path.iterdir() if file.is_file()] == [path]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), r".*No space left.*the free space"),
        (OSError(5, "Input/output error"), r".*Input/output error\): check its folder"),
    ],
)
def test_a_failure_at_the_end_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str
) -> None:
    path = painted(noise(1, 2, 2), GREY, Scratch(None)).save(tmp_path / "a.png")
    before = path.read_bytes()

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ImageError, match=rf"a\.png' cannot be written \({reason}"):
        painted(noise(1, 2, 3), GREY, Scratch(None)).save(path)
    assert (list(tmp_path.iterdir()), path.read_bytes()) == ([path], before)


@pytest.mark.parametrize(
    ("dtype", "channels", "suffix"),
    [("uint8", 3, ".png"), ("uint16", 1, ".png"), ("uint8", 5, ".tif"), ("float32", 1, ".tif")],
)
def test_the_suffix_suits_the_format(dtype: str, channels: int, suffix: str) -> None:
    assert PixelFormat.of_values(dtype, channels).suffix == suffix


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match=r"cannot be written.*check its folder"):
        painted(noise(1, 2, 2), GREY, Scratch(None)).save(tmp_path / "file" / "a.png")


@pytest.mark.parametrize(
    ("name", "dtype", "channels", "side", "reason"),
    [
        ("a", "uint8", 3, 9, "end the name with one of .png, .jpg"),
        ("a.png", "uint8", 5, 9, "png holds 1, 2, 3, 4 channels, the image has 5; name a .tif"),
        ("a.png", "float32", 3, 9, "png holds uint8 or uint16 values, the image has float32"),
        ("a.jpg", "uint16", 3, 9, "jpg holds uint8 values, the image has uint16; name a .png"),
        ("a.jpg", "uint8", 4, 9, "jpg holds 1, 3 channels, the image has 4; name a .tif"),
        ("a.jpeg", "float32", 3, 9, "holds uint8 values, the image has float32; name a .tif"),
        ("a.png", "uint8", 4, 9, "png calls the last of 4 channels alpha, and the image does not"),
        ("a.webp", "uint8", 2, 9, "webp calls the last of 2 channels alpha"),
        ("a.exr", "uint8", 3, 9, "exr holds float32 values, the image has uint8"),
        ("a.jpg", "uint8", 3, 65501, "holds at most 65500 pixels a side, the image has 65501 x 2"),
        ("a.WEBP", "uint8", 3, 16384, "webp holds at most 16383 pixels a side"),
        ("a.avif", "uint8", 3, 16385, "avif holds at most 16384 pixels a side"),
    ],
)
def test_what_cannot_be_held_is_refused(
    name: str, dtype: str, channels: int, side: int, reason: str
) -> None:
    with pytest.raises(ImageError) as caught:
        check_writable_format(Path(name), PixelFormat.of_values(dtype, channels), 2, side)
    assert reason in str(caught.value)
    assert str(caught.value).startswith(repr(name))


def test_what_can_be_held_passes() -> None:
    for name, side in (("a.png", 10**6), ("a.jpg", 65500), ("a.webp", 16383), ("a.avif", 16384)):
        check_writable_format(Path(name), RGB, 2, side)


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".exr"])
@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_signed_integers_are_written_in_their_own_type(
    tmp_path: Path, scratch: Scratch, dtype: str, suffix: str
) -> None:
    info, path = np.iinfo(dtype), tmp_path / f"a{suffix}"
    values = np.linspace(info.min, info.max, 19 * 23).astype(dtype).reshape(19, 23)
    for array in (values, np.full_like(values, info.max)):
        image = open_image(open_values(array))
        painted(image.read(), image.format, scratch).save(path)
        again = open_image(str(path), LIMIT)
        np.testing.assert_array_equal(again.read_stored(((0, 19), (0, 23)))[..., 0], array)
        assert again.format.stored == (None if suffix == ".exr" else dtype)


def test_signed_integers_without_data_get_their_least_value(
    tmp_path: Path, scratch: Scratch
) -> None:
    values = np.arange(-200, 237, dtype=np.int16).reshape(19, 23)
    image = open_image(open_values(np.ma.masked_equal(values, 7)))
    canvas = PixelCanvas(image.format, values.shape, scratch)
    canvas.fill(whole(values.shape), image.read(), image.mask.valid(whole(values.shape)))
    path = canvas.save(tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(path), np.where(values == 7, -32768, values))
    assert open_image(str(path)).format.metadata.nodata == "-32768"
