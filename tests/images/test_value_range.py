"""The range of values that is mapped to [0, 1]: the data's, the type's, or one that is given."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from image_files import LIMIT, integers, noise, stored
from tifffile import imwrite

from miner.images.pixel_format import PixelFormat
from miner.images.source import open_image
from miner.images.source_image import SourceImage
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError


def opened(
    folder: Path, values: np.ndarray, value_range: Any = "auto", max_mse: float = 0.0
) -> SourceImage:
    np.save(folder / "a.npy", values)
    return open_image(str(folder / "a.npy"), LIMIT, value_range=value_range, max_mse=max_mse)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (integers(20, 24, top=99), (0, 255)),
        (integers(20, 24, 3, dtype="uint16", top=4000) + np.uint16(40), (40, 4040)),
        (noise(20, 24) * 0.04, None),
        ((noise(20, 24) * 100 - 50).astype("int16"), None),
        (np.full((3, 4), 65535, np.uint16), (65534, 65535)),
        (np.full((3, 4), 7, np.uint16), (7, 8)),
        (np.full((3, 4), 0.25, np.float32), (0.25, 1.25)),
    ],
    ids=["8 bits", "12 bits", "reflectance", "signed", "white", "constant", "constant float"],
)
def test_range_is_that_of_the_data_but_for_8_bits(
    tmp_path: Path, values: np.ndarray, found: tuple[float, float] | None
) -> None:
    image = opened(tmp_path, values)
    expected = found or (float(values.min()), float(values.max()))
    assert image.format.data_range == pytest.approx(expected)
    unit = image.read()
    assert unit.min() >= 0
    assert unit.max() <= 1
    back = stored(image)[..., 0] if values.ndim == 2 else stored(image)
    np.testing.assert_allclose(back, values, rtol=1e-6, atol=1e-6)
    assert back.dtype == values.dtype


def test_range_is_found_out_of_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miner.images.source_image._TILE_VALUES", 50)
    values = integers(20, 24, dtype="uint16", top=4000) + np.uint16(40)
    with Scratch(tmp_path / "scratch") as scratch:
        np.save(tmp_path / "a.npy", values)
        image = open_image(str(tmp_path / "a.npy"), LIMIT, scratch=scratch)
        assert image.format.data_range == (40, 4040)


def test_range_of_the_type_is_that_of_its_integers_and_0_to_1_of_floats(tmp_path: Path) -> None:
    values = integers(20, 24, dtype="uint16", top=4000)
    np.testing.assert_array_equal(opened(tmp_path, values, "dtype").read()[0] * 65535, values)
    np.testing.assert_array_equal(opened(tmp_path, noise(20, 24), "dtype").read()[0], noise(20, 24))
    with pytest.raises(ImageError, match=r"from 0.* to 1.9.*image.range=dtype is 0 to 1.*use auto"):
        opened(tmp_path, noise(20, 24) * 2, "dtype")


@pytest.mark.parametrize("suffix", ["npy", "zarr"])
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint32", "int64", "uint64"])
def test_range_of_other_integers_is_that_of_their_type(
    tmp_path: Path, dtype: str, suffix: str
) -> None:
    values, path = integers(20, 24, top=99).astype(dtype), tmp_path / f"a.{suffix}"
    zarr.create_array(path, data=values) if suffix == "zarr" else np.save(path, values)
    image, info = open_image(str(path), LIMIT, value_range="dtype"), np.iinfo(dtype)
    assert image.format.data_range == pytest.approx((info.min, info.max))
    span = float(info.max) - float(info.min)
    np.testing.assert_allclose(stored(image)[..., 0], values, atol=span * 2**-23)
    assert image.format.over_type(30) == {}
    assert f"1 channel, {dtype}, range" in image.format.describe(image.sides)
    narrow = open_image(str(path), LIMIT).format
    assert narrow.over_type(30) == {"psnr_dtype_db": pytest.approx(30 + 20 * np.log10(span / 99))}
    with pytest.raises(ImageError, match=f"holds {dtype}, and image.range=.*: name a part of that"):
        open_image(str(path), LIMIT, value_range=[0, 1e20])


def test_what_is_beyond_a_given_range_is_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = np.linspace(-1, 2, 31, dtype=np.float32).reshape(1, 31)
    image = opened(tmp_path, values, [0, 1])
    np.testing.assert_allclose(image.read()[0], values.clip(0, 1), atol=1e-6)
    assert "values from -1 to 2: what is beyond image.range=[0, 1] is cut off" in caplog.text
    caplog.clear()
    assert opened(tmp_path, integers(20, 24), [0, 510 // 2]).format.data_range == (0, 255)
    assert not caplog.records
    with pytest.raises(ImageError, match=r"holds uint8, and image.range=\[0, 256\]: name a part"):
        opened(tmp_path, integers(20, 24), [0, 256])
    with pytest.raises(ImageError, match="holds 1 values that are NaN"):
        opened(tmp_path, np.array([[0, 1, np.inf]], np.float32), [0, 1])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("odd", [-3.4e38, -9999, 1e5])
def test_few_values_that_swallow_the_range_are_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, odd: float, channels: int
) -> None:
    values = noise(60, 80, channels) * 100
    low, high = values.min(), values.max()
    values[40, 7, 0] = values[41, 3:5, 0] = odd
    opened(tmp_path, values)
    assert f"3, the first {odd:g} at (40, 7), are far beyond all others" in caplog.text
    assert f"image.range=[{low:.7g},{high:.7g}] cuts them off" in caplog.text


def test_integers_are_warned_about_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = integers(60, 80, dtype="uint16", top=4000)
    values[5, 6] = 65535
    opened(tmp_path, values)
    assert "1, the first 65535 at (5, 6)" in caplog.text
    assert "image.range=[0,4000]" in caplog.text


def test_a_channel_far_beyond_the_others_is_no_few_values(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = integers(60, 80, 3, dtype="uint16", top=3000)
    values[..., 0] += 50000
    opened(tmp_path, values)
    assert not caplog.records


def with_alpha(folder: Path, values: np.ndarray) -> SourceImage:
    kind = "rgb" if values.shape[-1] == 4 else "minisblack"
    file = folder / "alpha.tif"
    imwrite(file, values, photometric=kind, planarconfig="contig", extrasamples=["unassalpha"])
    return open_image(str(file))


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("alpha", ["constant", "soft"])
def test_alpha_that_swallows_the_range_of_the_colours_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, channels: int, alpha: str
) -> None:
    values = integers(60, 80, channels, dtype="uint16", top=4095)
    values[..., -1] = 65535 if alpha == "constant" else integers(60, 80, dtype="uint16")
    image = with_alpha(tmp_path, values)
    assert image.format.data_range == (0, 65535)
    assert "from 0 to 65535, mostly for alpha, its last channel" in caplog.text
    assert "set fitting.target_psnr 24 dB higher" in caplog.text  # 65535 / 4095
    assert "cuts them off" not in caplog.text
    caplog.clear()
    values[..., :-1] *= 16
    with_alpha(tmp_path, values)
    assert caplog.text == ""


def test_of_colours_with_alpha_few_far_values_are_warned_about_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = np.concatenate([noise(60, 80, 3), np.ones((60, 80, 1), np.float32)], axis=-1)
    values[40, 7, 1] = -9999
    opened(tmp_path, values)
    assert "1, the first -9999 at (40, 7), are far beyond all others" in caplog.text


def test_values_beyond_on_both_sides_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = noise(60, 80)
    values[3, 4], values[50, 60] = -3.4e38, 3.4e38
    opened(tmp_path, values)
    assert "2, the first -3.4e+38 at (3, 4)" in caplog.text


@pytest.mark.parametrize(
    "values",
    [
        noise(60, 80),
        noise(60, 80) > 0.97,
        (noise(60, 80) * 3).astype("uint16"),
        np.random.default_rng(0).exponential(1, (60, 80)),
        np.random.default_rng(0).lognormal(0, 1, (300, 300)),
        np.maximum(0, noise(60, 80) - 0.95),
        np.full((2, 3), 5.0),
        np.array([[1.0]]),
    ],
    ids=["noise", "mask", "labels", "exponential", "long tail", "sparse", "constant", "one"],
)
def test_other_images_are_not_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, values: np.ndarray
) -> None:
    opened(tmp_path, values.astype(np.float32) if values.dtype != "uint16" else values)
    assert "far beyond" not in caplog.text


def test_range_of_which_most_values_take_less_than_the_bound_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = np.random.default_rng(0).lognormal(0, 2.5, (60, 80)).astype(np.float32)
    opened(tmp_path, values, max_mse=8e-5)
    assert "of 0.93, and fitting.max_mse=8e-05 allows an error of" in caplog.text
    low, high = map(float, re.findall(r"image.range=\[(.*),(.*)\]", caplog.text)[0])
    target_psnr = int(re.findall(r"fitting.target_psnr=(\d+) or more", caplog.text)[0])
    caplog.clear()
    opened(tmp_path, values, max_mse=10 ** (-target_psnr / 10))
    opened(tmp_path, values.clip(low, high), max_mse=8e-5)
    opened(tmp_path, noise(60, 80), max_mse=8e-5)
    opened(tmp_path, np.full((3, 4), 0.25, np.float32), max_mse=8e-5)
    assert not caplog.records


def test_psnr_over_the_type_is_higher_by_the_share_of_its_range() -> None:
    twelve_bits = PixelFormat.of_values("uint16", 1, (0, 4095))
    expected = {"psnr_dtype_db": pytest.approx(16.5 + 20 * np.log10(65535 / 4095))}
    assert twelve_bits.over_type(16.5) == expected
    reflectances = PixelFormat.of_values("float32", 1, (0, 0.04))
    assert reflectances.over_type(17.2) == {"psnr_dtype_db": pytest.approx(45.16, abs=0.01)}
    for same in (PixelFormat.of_values("uint8", 3), PixelFormat.of_values("float32", 1, (0, 2))):
        assert same.over_type(40) == {}


def test_people_see_floats_as_in_the_file_and_integers_over_their_types_most() -> None:
    unit = torch.tensor([0.0, 0.5, 1.0])
    for kind, span, expected in (
        ("uint8", None, [0, 0.5, 1]),
        ("uint16", (0, 4095), [0, 2047.5 / 65535, 4095 / 65535]),
        ("float32", (-3.0, 5.0), [-3, 1, 5]),
    ):
        shown = PixelFormat.of_values(kind, 1, span).to_values(unit)
        torch.testing.assert_close(shown, torch.tensor(expected, dtype=torch.float32))
