"""What the axes of an array are: given, named by its file, found by a rule, or refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from image_files import LIMIT, complaint, integers

from miner.images.axes import describe, find_axes
from miner.images.source import inspect_image, open_image
from miner.support.errors import ImageError


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((20, 24), "HW"),
        ((2, 3), "HW"),
        ((3, 20, 24), "CHW"),
        ((20, 24, 3), "HWC"),
        ((4, 5, 5), "CHW"),
        ((5, 3, 1), "HWC"),
    ],
)
def test_without_a_word_one_short_end_is_the_channel_axis(
    shape: tuple[int, ...], axes: str
) -> None:
    assert find_axes(shape) == axes


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((48, 40, 30), ["CHW (image of 40x30, 48 channels)", "HWC (", "30 channels)", "DHW (vol"]),
        ((3, 20, 4), ["(3, 20, 4)", "image.axes=DHW", "axes='DHW'"]),
        ((1, 3, 20, 24), ["CDHW (volume of 3x20x24)", "DHWC", "of a batch, give one image"]),
        ((3, 9, 9, 9), ["CDHW (volume of 9x9x9, 3 channels)"]),
        ((5,), ["(5,)", "HW, HWC or CHW"]),
        ((1, 1, 3, 4, 5), ["(1, 1, 3, 4, 5)", "give one such part"]),
    ],
)
def test_what_can_be_read_otherwise_is_refused_with_the_readings(
    shape: tuple[int, ...], words: list[str]
) -> None:
    with pytest.raises(ImageError) as caught:
        find_axes(shape)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("given", ["HW", "HHW", "HWD", "HWCD", "HWX", "DCH", ""])
def test_given_axes_must_name_each_once(given: str) -> None:
    if given == "HWD":
        assert find_axes((3, 4, 5), given) == given
        return
    with pytest.raises(ImageError, match=r"\(3, 4, 5\), not axes='.*name each axis once"):
        find_axes((3, 4, 5), given)


@pytest.mark.parametrize(
    ("shape", "names", "axes"),
    [
        ((48, 40, 30), "ZYX", "DHW"),
        ((9, 40, 30), ("band", "lat", "lon"), "CHW"),
        ((1, 2, 1, 9, 8), ("t", "c", "z", "y", "x"), "_C_HW"),
        ((1, 3, 9, 8), "TZYX", "_DHW"),
        ((3, 20, 24), ("dim_0", "dim_1", "dim_2"), "CHW"),
        ((3, 20, 24), "QYX", "CHW"),
    ],
)
def test_names_of_the_file_count_before_the_rule(
    shape: tuple[int, ...], names: Any, axes: str
) -> None:
    assert find_axes(shape, names=names) == axes
    assert find_axes((9, 9), "WH", names="YX") == "WH"


@pytest.mark.parametrize("names", ["TYX", ("time", "lat", "lon"), ("frequency", "y", "x")])
def test_axes_that_an_image_has_not_are_refused_by_their_names(names: Any) -> None:
    with pytest.raises(ImageError, match=f"^has an axis '{names[0]}' of length 3, which an image"):
        find_axes((3, 20, 24), names=names)
    assert find_axes((3, 20, 24), "CHW", names) == "CHW"


def test_size_is_described() -> None:
    assert describe((3, 4, 5, 6), "CDHW") == "volume of 4x5x6, 3 channels"


@pytest.mark.parametrize(
    ("axes", "order"),
    [("HWC", (2, 0, 1)), ("CHW", (0, 1, 2)), ("WHC", (2, 1, 0)), ("DHW", None), ("WDH", None)],
)
def test_arrays_are_read_as_they_are_said_to_be(
    tmp_path: Path, axes: str, order: tuple[int, ...] | None
) -> None:
    values = integers(6, 5, 7)
    np.save(tmp_path / "a.npy", values)
    image = open_image(str(tmp_path / "a.npy"), LIMIT, axes=axes)
    if order is None:
        expected = values[None] if axes == "DHW" else values.transpose(1, 2, 0)[None]
    else:
        expected = values.transpose(order)
    np.testing.assert_array_equal(image.format.from_unit(image.read()), expected)
    part = image.read(tuple((1, side) for side in image.sides))
    np.testing.assert_array_equal(
        part, image.read()[(slice(None), *[slice(1, None)] * part[0].ndim)]
    )
    info = inspect_image(str(tmp_path / "a.npy"), LIMIT, 4, axes)
    assert (info.n_channels, *info.sides) == (len(expected), *[4] * (expected.ndim - 1))


def test_too_many_channels_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 5, 1025), np.uint8))
    with pytest.raises(ImageError, match="has 1025 channels, more than 1024"):
        open_image(str(tmp_path / "a.npy"), LIMIT, axes="HWC")


def test_a_picture_has_axes_of_its_own(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", integers(9, 7, 3), photometric="rgb")
    for path in (str(tmp_path / "a.tif"), "sample:coffee"):
        assert open_image(path, LIMIT, 5, axes="HWC").n_channels == 3
        with pytest.raises(ImageError, match="has rows, columns and channels, not axes='CHW'"):
            inspect_image(path, LIMIT, axes="CHW")


@pytest.mark.parametrize(
    ("name", "axes"), [("a.ome.tif", "ZYX"), ("a.ome.tif", "ZCYX"), ("imagej.tif", "ZYX")]
)
def test_stacks_with_names_are_volumes(tmp_path: Path, name: str, axes: str) -> None:
    values = integers(*((5, 2, 9, 7) if axes == "ZCYX" else (5, 9, 7)), dtype="uint16")
    path = tmp_path / name
    tifffile.imwrite(path, values, metadata={"axes": axes}, imagej=name == "imagej.tif")
    pixels = open_image(str(path), LIMIT).read()
    expected = values.transpose(1, 0, 2, 3) if axes == "ZCYX" else values[None]
    np.testing.assert_array_equal((pixels * 65535).round(), expected)
    with tifffile.TiffFile(path) as file:
        end = max(page.dataoffsets[-1] for page in file.pages)
    path.write_bytes(path.read_bytes()[: end + 9])
    with pytest.raises(ImageError, match=r"cut short|not axes="):  # its header may be gone, too
        open_image(str(path), LIMIT, axes="DHW" if axes == "ZYX" else "DCHW")


def test_of_pages_without_names_the_first_is_read_unless_axes_are_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values, path = integers(6, 9, 7), str(tmp_path / "a.tif")
    with tifffile.TiffWriter(path) as file:
        for page in values:
            file.write(page, contiguous=False)
    np.testing.assert_array_equal(open_image(path, LIMIT).read()[0] * 255, values[0])
    assert "image.axes=DHW or CHW takes all" in caplog.text
    for axes, expected in [("DHW", values[None]), ("CHW", values)]:
        image = open_image(path, LIMIT, axes=axes)
        np.testing.assert_array_equal(image.format.from_unit(image.read()), expected)


def test_zarr_arrays_name_their_axes(tmp_path: Path) -> None:
    values, names = integers(9, 6, 7), ["z", "y", "x"]
    zarr.create_array(tmp_path / "v3.zarr", data=values, dimension_names=names)
    xarray = zarr.create_array(tmp_path / "xarray.zarr", data=values, zarr_format=2)
    xarray.attrs["_ARRAY_DIMENSIONS"] = names
    group = zarr.create_group(tmp_path / "ome.zarr", zarr_format=2)
    group.create_array("0", data=values)
    group.attrs["multiscales"] = [{"axes": [{"name": name} for name in names]}]
    for path in ("v3.zarr", "xarray.zarr", "ome.zarr/0"):
        assert inspect_image(str(tmp_path / path), LIMIT).sides == (9, 6, 7)
    (tmp_path / "ome.zarr/.zattrs").write_text(json.dumps({"multiscales": []}))
    assert "can be read as" in complaint(tmp_path / "ome.zarr/0", inspect_image)
