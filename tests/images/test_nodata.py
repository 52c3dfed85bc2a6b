"""Pixels without data are masked, filled from around, and written as no-data again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from image_files import LIMIT, integers, noise

from miner.images import nodata
from miner.images.arrays import open_values
from miner.images.encode import PixelCanvas
from miner.images.metadata import Metadata
from miner.images.nodata import with_nodata
from miner.images.pixel_format import PixelFormat
from miner.images.source import inspect_image, open_image
from miner.images.source_image import SourceImage
from miner.signals.regions import whole
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

LOWEST = np.float32(-3.4028234663852886e38)
HOLE = (slice(3, 9), slice(4, 30))  # of an image of 20 x 40 pixels


def save_tiff(path: Path, values: np.ndarray, tag: str) -> str:
    """A TIFF with GDAL's tag of a no-data value."""
    kind: Any = {"photometric": "rgb" if values.shape[-1] == 3 else "minisblack"}
    tifffile.imwrite(path, values, extratags=[(42113, "s", 0, tag, True)], **kind)
    return str(path)


def with_tag(format: PixelFormat, tag: str) -> PixelFormat:
    return replace(format, metadata=Metadata(nodata=tag))


def valid_of(image: SourceImage) -> np.ndarray:
    assert image.mask is not None
    return image.mask.valid(whole(image.sides))


def check_filled(image: SourceImage, values: np.ndarray, masked: np.ndarray) -> None:
    """Pixels with data are as stored, and all others within their range, `(H, W, C)`."""
    np.testing.assert_array_equal(valid_of(image), ~masked)
    found = image.read_stored(whole(image.sides))
    np.testing.assert_array_equal(found[~masked], values[~masked])
    assert values[~masked].min() <= found.min() <= found.max() <= values[~masked].max()


@pytest.mark.parametrize("tag", ["-3.4028234663852886e+38", "-3.40282347e+38 ", "-3.402823e+38"])
def test_one_tagged_pixel_leaves_all_other_values_distinct(tmp_path: Path, tag: str) -> None:
    values = np.linspace(100, 900, 616, dtype=np.float32).reshape(22, 28)
    values[5, 6] = LOWEST
    image = open_image(save_tiff(tmp_path / "a.tif", values, tag), LIMIT)
    masked = values == LOWEST
    check_filled(image, values[..., None], masked[...])
    assert image.format.data_range == (100, 900)
    assert len(np.unique(image.read()[0][~masked])) == 615
    assert image.format.metadata.nodata == tag.strip()
    assert ", 1 of 616 pixels are masked (no-data -3.40282" in image.format.describe(
        image.sides, image.mask
    )


@pytest.mark.parametrize(
    ("dtype", "tag"),
    [("int16", "-9999"), ("float32", "-9999.0"), ("float64", "-9999"), ("uint16", "0")],
)
def test_tagged_elevations_keep_their_range(tmp_path: Path, dtype: str, tag: str) -> None:
    values = integers(20, 40, dtype="uint16", top=3000).astype(dtype) + np.array(7, dtype)
    values[HOLE] = float(tag)
    image = open_image(save_tiff(tmp_path / "a.tif", values, tag), LIMIT)
    masked = values == float(tag)
    check_filled(image, values[..., None], masked)
    assert image.format.data_range == (values[~masked].min(), values[~masked].max())


@pytest.mark.parametrize(("dtype", "expected"), [("uint8", "248"), ("int16", "-8")])
def test_a_value_of_samples_in_which_0_is_white_is_that_of_pixels(
    tmp_path: Path, dtype: str, expected: str
) -> None:
    samples, kind = integers(20, 40, dtype="uint8", top=200).astype(dtype), "miniswhite"
    samples[samples == 7] = 8
    samples[HOLE] = 7
    tag = (42113, "s", 0, "7", True)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric=kind, extratags=[tag])
    image = open_image(str(tmp_path / "a.tif"), LIMIT)
    np.testing.assert_array_equal(valid_of(image), samples != 7)
    assert image.format.metadata.nodata == expected


def test_a_colour_of_a_palette_is_no_single_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples, palette = integers(20, 40), integers(3, 256, dtype="uint16")
    tag = (42113, "s", 0, "7", True)
    tifffile.imwrite(
        tmp_path / "a.tif", samples, photometric="palette", colormap=palette, extratags=[tag]
    )
    assert open_image(str(tmp_path / "a.tif"), LIMIT).mask is None
    assert "names the no-data value 7, which is no value that all channels have" in caplog.text


@pytest.mark.parametrize("tag", ["-9999", "255.5", "nan", "none"])
def test_a_value_that_the_type_lacks_masks_nothing(tmp_path: Path, tag: str) -> None:
    values = integers(20, 40)
    assert open_image(save_tiff(tmp_path / "a.tif", values, tag), LIMIT).mask is None


def test_a_pixel_is_masked_where_all_its_channels_are(tmp_path: Path) -> None:
    values = integers(20, 40, 3).clip(1)
    values[HOLE] = 0
    image = open_image(save_tiff(tmp_path / "a.tif", values, "0"), LIMIT)
    check_filled(image, values, (values == 0).all(-1))
    assert image.format == with_tag(PixelFormat.of_values("uint8", 3), "0")


def test_some_channels_without_data_must_be_decided_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = integers(20, 40, 3).clip(1)
    values[HOLE] = 0
    values[15, 2:5, 1] = 0
    path = save_tiff(tmp_path / "a.tif", values, "0")
    with pytest.raises(ImageError) as caught:
        open_image(path, LIMIT)
    words = "has 3 pixels of which some channels", "image.nodata=0 masks", "image.nodata=none takes"
    assert [word for word in words if word not in str(caught.value)] == []
    assert open_image(path, LIMIT, nodata="none").mask is None
    assert not caplog.records
    check_filled(open_image(path, LIMIT, nodata=0), values, (values == 0).all(-1))
    assert "3 pixels of which some channels, not all, hold the no-data value 0" in caplog.text


def test_nan_is_a_mask_and_infinity_is_refused() -> None:
    values = noise(20, 40, 2)
    values[HOLE] = np.nan
    for setting in ("auto", "none", 7.0):
        image = open_image(open_values(values), nodata=setting)
        check_filled(image, values, np.isnan(values).all(-1))
    values[1, 2, 0] = np.inf
    with pytest.raises(ImageError, match="holds 1 values that are NaN or infinite"):
        open_image(open_values(values))
    values[1, 2, 0], values[0, 0, 1] = 0.5, np.nan
    with pytest.raises(ImageError, match=r"holds 1 values that are NaN .* all are NaN; replace"):
        open_image(open_values(values))
    with pytest.raises(ImageError, match="holds no data: all pixels are NaN, no-data or masked"):
        open_image(open_values(np.full((3, 4), np.nan)))


@pytest.mark.parametrize("name", ["_FillValue", "missing_value"])
def test_attributes_of_zarr_name_the_value(tmp_path: Path, name: str) -> None:
    values = noise(20, 40)
    values[HOLE] = -5
    array = zarr.create_array(str(tmp_path / "a"), data=values)
    array.attrs[name] = -5.0
    check_filled(open_image(str(tmp_path / "a"), LIMIT), values[..., None], values == -5)
    array.attrs[name] = "AAAAAAAAFMA="  # as xarray writes it
    check_filled(open_image(str(tmp_path / "a"), LIMIT), values[..., None], values == -5)
    array.attrs[name] = "none"
    image = open_image(str(tmp_path / "a"), LIMIT)
    assert image.mask is None and image.format.metadata.nodata == ""


def test_one_bit_values_have_no_data_too(tmp_path: Path) -> None:
    bits = noise(20, 40) > 0.5
    for kind, tag in (("minisblack", "1"), ("miniswhite", "1"), ("minisblack", "0")):
        tags = [(42113, "s", 0, tag, True)]
        tifffile.imwrite(tmp_path / "a.tif", bits, photometric=kind, extratags=tags)
        image = open_image(str(tmp_path / "a.tif"))
        assert image.mask is not None and image.mask.n_masked == int((bits == int(tag)).sum())


@pytest.mark.parametrize(("value", "dtype"), [(300, "uint8"), (-1, "uint16"), (0.5, "uint8")])
def test_a_value_that_the_type_has_not_is_refused(value: float, dtype: str) -> None:
    image = open_values((100 * noise(9, 8)).astype(dtype))
    with pytest.raises(ImageError, match=rf"holds {dtype}, and image.nodata=.*: name one of its"):
        open_image(image, nodata=value)


def test_integers_that_float32_does_not_tell_apart_are_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    values = np.arange(2**24, 2**24 + 200, dtype=np.int32).reshape(10, 20)
    open_image(open_values(values), nodata=2**24 + 1)
    assert "is masked, with data that float32 does not tell from it" in caplog.text


@pytest.mark.parametrize("mask", [np.array([["1"] * 8] * 9), np.full((9, 8), None)])
def test_a_mask_of_no_numbers_is_refused(mask: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"^mask of .*: give numbers, 0 where there is no data"):
        open_image(open_values(noise(9, 8)), mask=mask)


def test_nan_in_a_mask_is_no_data_and_lists_of_masked_arrays_are_masked() -> None:
    missing = noise(9, 8) > 0.5
    image = open_image(open_values(noise(9, 8)), mask=np.where(missing, np.nan, 1))
    assert image.mask is not None and image.mask.n_masked == missing.sum()
    several = open_values([np.ma.array(noise(9, 8), mask=missing)] * 3, "CHW")
    assert several.mask is not None and several.mask.n_masked == missing.sum()


@pytest.mark.parametrize("sides", [(20, 40), (6, 20, 10)])
def test_masked_arrays_are_masked(sides: tuple[int, ...]) -> None:
    values, masked = noise(*sides), noise(*sides) > 0.4
    values[masked] = 1e30
    axes = "HW" if len(sides) == 2 else "DHW"
    image = open_image(open_values(np.ma.masked_array(values, masked), axes))
    check_filled(image, values[..., None], masked)
    channels = np.ma.masked_array(noise(20, 40, 3), noise(20, 40, 3) > 0.5)
    with pytest.raises(ImageError, match=r"masks some channels of \d+ pixels: mask all of a pixel"):
        open_values(channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_mask_file_is_data_where_it_is_not_zero(tmp_path: Path, channels: int) -> None:
    values, valid = integers(20, 40), np.zeros((20, 40, channels), np.uint8)
    valid[HOLE] = 3
    tifffile.imwrite(tmp_path / "mask.tif", valid.squeeze())
    np.save(tmp_path / "a.npy", values)
    with Scratch(tmp_path / "scratch") as scratch:  # where both are decoded in turn
        image = open_image(
            str(tmp_path / "a.npy"), LIMIT, 18, scratch, mask=str(tmp_path / "mask.tif")
        )
        middle = (slice(1, 19), slice(11, 29))
        check_filled(image, values[middle][..., None], valid[..., 0][middle] == 0)


def test_a_mask_of_another_size_is_refused_before_pixels_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", integers(20, 40))
    np.save(tmp_path / "mask.npy", integers(40, 20))
    for read in (inspect_image, open_image):
        with pytest.raises(ImageError) as caught:
            read(str(tmp_path / "a.npy"), LIMIT, mask=str(tmp_path / "mask.npy"))
        assert "mask.npy' has 20 x 40 pixels, and the image 'a' 40 x 20: a mask" in str(
            caught.value
        )
    np.save(tmp_path / "mask.npy", integers(20, 40, 4))
    with pytest.raises(ImageError, match="has 4 channels, as with alpha: save a mask as grey"):
        inspect_image(str(tmp_path / "a.npy"), LIMIT, mask=str(tmp_path / "mask.npy"))
    with pytest.raises(ImageError, match=r"mask of shape \(3,\): the image has \(20, 40\)"):
        open_image(str(tmp_path / "a.npy"), mask=np.zeros(3))


@pytest.mark.parametrize("sides", [(20, 40), (6, 20, 10), (3, 50)])
def test_the_fill_does_not_depend_on_where_pixels_are_kept(
    tmp_path: Path, sides: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodata, "_BOX_VALUES", 64)  # of 8 pixels a side
    values = noise(*sides, 2)
    values[noise(*sides) > 0.6] = np.nan
    values[-8:, -8:] = np.nan
    values[(0,) * len(sides)] = 0.5
    axes = "DHWC"[-len(sides) - 1 :]
    np.save(tmp_path / "a.npy", values)
    in_memory = open_image(str(tmp_path / "a.npy"), axes=axes)
    check_filled(in_memory, values, np.isnan(values).all(-1))
    with Scratch(tmp_path / "scratch") as scratch:
        in_files = open_image(str(tmp_path / "a.npy"), scratch=scratch, axes=axes)
        np.testing.assert_array_equal(in_memory.read(), in_files.read())


def test_the_fill_is_smooth() -> None:
    rows, columns = np.mgrid[:64, :64].astype(np.float32) / 64
    slope = rows + 2 * columns
    masked = np.hypot(rows - 0.5, columns - 0.5) < 0.25
    image = open_image(open_values(np.where(masked, np.nan, slope)))
    found = image.read_stored(whole((64, 64)))[..., 0]
    steps = np.abs(np.diff(found, axis=1)).max(), np.abs(np.diff(found, axis=0)).max()
    assert max(steps) < 0.4  # the hole spans 1.5; its values would jump by as much if unfilled
    assert np.abs(found - slope)[masked].mean() < 0.15


def filled(format: PixelFormat, unit: np.ndarray, valid: np.ndarray | None, path: Path) -> Any:
    canvas = PixelCanvas(format, unit.shape[1:], Scratch(None))
    canvas.fill(whole(unit.shape[1:]), unit, valid)
    return np.load(canvas.save(path.with_suffix(".npy")))


@pytest.mark.parametrize(
    ("dtype", "channels", "tag", "expected"),
    [
        *(("float32", 1, "-9999", -9999), ("float32", 2, "", np.nan), ("uint8", 3, "0", 0)),
        *(("uint8", 3, "255", 255), ("uint16", 1, "-1", 0), ("uint8", 4, "", 0)),
    ],
)
def test_masked_pixels_are_written_as_no_data(
    tmp_path: Path, dtype: Any, channels: int, tag: str, expected: float
) -> None:
    plain = PixelFormat.of_values(dtype, channels, (0, 250))
    format = with_tag(plain, tag)
    unit, valid = noise(channels, 20, 40), noise(20, 40) > 0.3
    found = filled(format, unit, valid, tmp_path / "a")
    np.testing.assert_array_equal(found[~valid], np.full((int((~valid).sum()), channels), expected))
    data = filled(plain, unit, None, tmp_path / "b")[valid]
    if tag:  # no channel of a pixel with data has it
        assert not (found[valid] == expected).any()
        data = np.where(data == expected, found[valid], data)
    np.testing.assert_array_equal(found[valid], data)


@pytest.mark.parametrize(("tag", "expected"), [("0", 1), ("255", 254), ("7", 8)])
def test_no_pixel_with_data_becomes_no_data_by_rounding(tag: str, expected: int) -> None:
    format = with_tag(PixelFormat.of_values("uint8", 2), tag)
    pixels = np.array([[[int(tag)] * 2, [int(tag), 3], [9, 9]]], np.uint8)
    found = with_nodata(pixels.copy(), format, None)
    assert found.tolist() == [[[expected] * 2, [expected, 3], [9, 9]]]


def test_a_float_becomes_its_neighbour_before_it_becomes_no_data() -> None:
    plain = PixelFormat.of_values("float32", 1, (0, 2))
    format = with_tag(plain, "0")
    found = with_nodata(np.zeros((1, 2, 1), np.float32), format, np.array([[True, False]]))
    assert found.ravel().tolist() == [np.nextafter(np.float32(0), np.float32(1)), 0]
