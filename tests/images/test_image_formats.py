"""Every kind of file opens with the values it holds."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pyvips
import tifffile
from image_files import LIMIT, integers, noise, stored
from PIL import Image, ImageOps

from miner.images.source import inspect_image, open_image
from miner.images.source_image import SourceImage
from miner.signals.scratch import Scratch


def opened(path: Path) -> SourceImage:
    """Open a file, and check that its header announced the same and a scratch file holds it."""
    image = open_image(str(path), LIMIT)
    with Scratch(path.parent / "scratch") as scratch:
        other = open_image(str(path), LIMIT, scratch=scratch)
        np.testing.assert_array_equal(other.read(), image.read())
        assert (other.format, other.sha256) == (image.format, image.sha256)
    info = inspect_image(str(path), LIMIT)
    assert (info.n_channels, *info.sides) == image.read().shape
    assert (info.name, info.dtype) == (image.name, image.format.dtype)
    return image


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integers_are_kept(tmp_path: Path, dtype: str, channels: int, suffix: str) -> None:
    values, path = integers(5, 7, channels, dtype=dtype), tmp_path / f"image.{suffix}"
    values[0, 0, -1] = 0  # the colours of what is transparent are kept
    grey = "b-w" if dtype == "uint8" else "grey16"
    colour = "srgb" if dtype == "uint8" else "rgb16"
    space = grey if channels <= 2 else colour
    pyvips.Image.new_from_array(values).copy(interpretation=space).write_to_file(str(path))
    image = opened(path)
    np.testing.assert_array_equal(stored(image), values)
    assert (image.format.dtype, image.format.alpha) == (dtype, 0 if channels % 2 else 2)


def test_palettes_are_expanded_to_rgb_or_rgba(tmp_path: Path) -> None:
    palette = Image.fromarray(integers(5, 7, 3)).quantize(8)
    palette.save(tmp_path / "a.png")
    np.testing.assert_array_equal(stored(opened(tmp_path / "a.png")), palette.convert("RGB"))
    palette.save(tmp_path / "b.png", transparency=0)
    values = stored(opened(tmp_path / "b.png"))
    np.testing.assert_array_equal(values[:, :, 3] == 0, np.asarray(palette) == 0)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_one_bit_is_expanded_to_black_and_white(tmp_path: Path, suffix: str) -> None:
    bits = integers(5, 7) > 128
    Image.fromarray(bits).save(tmp_path / f"a.{suffix}")
    pixels = opened(tmp_path / f"a.{suffix}").read()
    np.testing.assert_array_equal(pixels[0], bits)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_matches_another_decoder(tmp_path: Path, channels: int) -> None:
    smooth = cv2.resize(integers(3, 3, channels), (32, 24), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "a.jpg"), smooth)
    reference = np.asarray(Image.open(tmp_path / "a.jpg")).reshape(24, 32, channels)
    difference = stored(opened(tmp_path / "a.jpg")).astype(int) - reference
    assert np.abs(difference).max() <= 2


def test_cmyk_jpeg_is_converted_to_srgb(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ink = np.zeros((8, 16, 4), np.uint8)
    ink[:, 8:] = (0, 255, 255, 0)  # magenta and yellow make red
    Image.fromarray(ink, "CMYK").save(tmp_path / "a.jpg", quality=100)
    paper, red = opened(tmp_path / "a.jpg").read()[:, 0, [0, -1]].T
    assert paper.min() > 0.95
    assert red[0] > 0.8 > 0.3 > red[1:].max()
    assert "CMYK: converted to sRGB" in caplog.text


@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unit_floats_are_kept_in_the_range_of_their_type(
    tmp_path: Path, dtype: str, layout: Any
) -> None:
    values = noise(3, 5, 7)
    stored_values = values.transpose(1, 2, 0) if layout == "contig" else values
    tifffile.imwrite(
        tmp_path / "a.tif", stored_values.astype(dtype), photometric="rgb", planarconfig=layout
    )
    np.testing.assert_allclose(stored(opened(tmp_path / "a.tif")), values.transpose(1, 2, 0))
    image = open_image(str(tmp_path / "a.tif"), LIMIT, value_range="dtype")
    np.testing.assert_array_equal(image.read(), values)
    assert (image.format.scale, image.format.offset) == (1.0, 0.0)


@pytest.mark.parametrize("low", [-3e38, -1e4, -2.0, 0.5, 6.0])
@pytest.mark.parametrize("high", [6.0, 2e38])
def test_other_floats_fill_the_unit_range(tmp_path: Path, low: float, high: float) -> None:
    values = np.array([low, max(low, 0.75), high], np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values[None])
    image, span = opened(tmp_path / "a.tif"), float(high) - low
    expected = (values.astype(float) - low) / (span or 1)
    np.testing.assert_allclose(image.read()[0, 0], expected, rtol=1e-6, atol=1e-7)
    assert (image.read().min(), image.read().max()) == (0, 1 if span else 0)
    np.testing.assert_allclose(stored(image)[0, :, 0], values, rtol=1e-6, atol=1e-6 * span)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint32", "int64", "uint64"])
def test_other_integers_are_read_as_float(tmp_path: Path, dtype: str) -> None:
    values = np.array([[3, 5, 11]], dtype)
    tifffile.imwrite(tmp_path / "a.tif", values)
    image = opened(tmp_path / "a.tif")
    assert image.format.dtype == "float32"
    np.testing.assert_array_equal(stored(image)[:, :, 0], values)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(integers(5, 7, 3)).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as file:
        upright = np.asarray(ImageOps.exif_transpose(file))
    np.testing.assert_array_equal(stored(opened(tmp_path / "a.png")), upright)


def test_profile_does_not_change_values(tmp_path: Path) -> None:
    image = pyvips.Image.new_from_array(integers(5, 7, 3))
    image = image.copy(interpretation="srgb").icc_transform("p3", input_profile="srgb")
    image.write_to_file(str(tmp_path / "p3.png"))
    with Image.open(tmp_path / "p3.png") as file:
        assert file.info["icc_profile"]
        plain = np.asarray(file)
    np.testing.assert_array_equal(stored(opened(tmp_path / "p3.png")), plain)


@pytest.mark.parametrize("suffix", ["tif", "gif", "webp"])
def test_first_of_several_pages_is_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    first, second = (Image.new("RGB", (7, 5), colour) for colour in ("red", "blue"))
    path = tmp_path / f"a.{suffix}"
    first.save(path, save_all=True, append_images=[second], lossless=True)
    image = open_image(str(path), LIMIT)
    assert image.read()[:3, 2, 3].tolist() == [1.0, 0.0, 0.0]
    assert image.read().shape[1:] == (5, 7)
    assert "2 pages or frames: only the first is read" in caplog.text


@pytest.mark.parametrize(("name", "kind"), [("a.webp", "WEBP"), ("a.jpg", "PNG")])
def test_lossless_content_counts_not_the_suffix(tmp_path: Path, name: str, kind: str) -> None:
    values = integers(5, 7, 3)
    Image.fromarray(values).save(tmp_path / name, format=kind, lossless=True)
    np.testing.assert_array_equal(stored(opened(tmp_path / name)), values)
