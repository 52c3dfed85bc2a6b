"""Arrays open as images, in memory or in files, and nothing in them is ever run."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from image_files import LIMIT, complaint, integers, stored

from miner.images.source import inspect_image, open_image
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

TYPES = ["bool", "uint8", "int8", "uint16", ">u2", "int16", "int32", "uint32", "int64", "uint64"]
TYPES += ["float16", "float32", ">f4", "float64"]


def draw(*shape: int) -> np.ndarray:
    return integers(*shape, top=99)


def save(path: Path, values: np.ndarray, zarr_format: int = 3) -> str:
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        chunks = tuple(4 if n < 99 else 999 for n in values.shape)
        zarr.create_array(path, data=values, chunks=chunks, zarr_format=zarr_format)
    return str(path)


@pytest.mark.parametrize(("name", "zarr_format"), [("a.npy", 3), ("a.zarr", 2), ("a.zarr", 3)])
@pytest.mark.parametrize("dtype", TYPES)
def test_numbers_are_kept(tmp_path: Path, dtype: str, name: str, zarr_format: Any) -> None:
    values = draw(5, 7, 3).astype(dtype)
    image = open_image(save(tmp_path / name, values, zarr_format), LIMIT)
    expected = values * np.uint8(255) if dtype == "bool" else values
    np.testing.assert_allclose(stored(image), expected, rtol=1e-6)
    info = inspect_image(str(tmp_path / name), LIMIT)
    assert (*info.sides, info.n_channels) == values.shape
    assert (info.name, info.dtype) == ("a", image.format.dtype)


@pytest.mark.parametrize(
    ("shape", "upright"),
    [
        ((5, 7), (1, 5, 7)),
        ((3, 5, 7), (3, 5, 7)),
        ((4, 5, 5), (4, 5, 5)),
        ((5, 3, 4), (4, 5, 3)),
        ((5, 1, 1), (1, 5, 1)),
    ],
)
@pytest.mark.parametrize("order", "CF")
def test_channels_are_found(
    tmp_path: Path, shape: tuple[int, ...], upright: tuple[int, ...], order: str
) -> None:
    values = np.asarray(draw(*shape) / 100, np.float32, order=order)
    pixels = open_image(save(tmp_path / "a.npy", values), LIMIT, value_range="dtype").read()
    assert pixels.shape == upright
    first = values[..., None] if values.ndim == 2 else values
    np.testing.assert_array_equal(pixels, first if shape == upright else first.transpose(2, 0, 1))


def test_a_mapped_array_is_not_copied(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", draw(5, 7).astype(np.uint8))
    with Scratch(tmp_path / "scratch") as scratch:
        open_image(path, LIMIT, scratch=scratch)
        assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize("name", ["a.npy", "a.zarr"])
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros(5), "has axes of (5,): an image has HW, HWC or CHW"),
        (np.zeros((5, 7, 9)), "has axes of (5, 7, 9), which can be read as CHW"),
        (np.zeros((2, 2, 2, 2)), "has axes of (2, 2, 2, 2), which can be read as DHWC"),
        (np.zeros((2, 2), complex), "values of type complex128: give np.abs of it, or two"),
        (np.zeros((1001, 1000), np.uint8), "raise image.max_pixels to 1001000"),
        (np.full((2, 2), np.nan), "holds no data: all pixels are NaN"),
        (np.full((2, 2), 1e300), "holds 4 values that are NaN or infinite"),
    ],
    ids=["line", "three long axes", "four axes", "complex", "pixels", "nan", "huge"],
)
def test_other_arrays_are_refused(
    tmp_path: Path, name: str, values: np.ndarray, reason: str
) -> None:
    assert reason in complaint(save(tmp_path / name, values))


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("sprung",)


def test_objects_are_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "a.npy", np.array([[Trap()]]), allow_pickle=True)
    assert "cannot be decoded (ValueError: Array can't be" in complaint(tmp_path / "a.npy")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("key", ["compressor", "filters"])
def test_chunks_are_never_unpickled(tmp_path: Path, key: str) -> None:
    path = save(tmp_path / "a.zarr", draw(4, 4).astype(np.uint8), zarr_format=2)
    settings = json.loads((tmp_path / "a.zarr/.zarray").read_text())
    settings[key] = {"id": "pickle"} if key == "compressor" else [{"id": "pickle"}]
    (tmp_path / "a.zarr/.zarray").write_text(json.dumps(settings))
    assert re.search("pickle.*(write plain numbers|export it again)", complaint(path))


@pytest.mark.parametrize("kept", [0, 20, 100])
def test_cut_npy_is_refused(tmp_path: Path, kept: int) -> None:
    path = Path(save(tmp_path / "a.npy", draw(5, 7)))
    path.write_bytes(path.read_bytes()[:kept])
    assert re.search(r"cannot be decoded \(.*by numpy.save|known format", complaint(path))


def test_an_array_that_is_gone_is_reported(tmp_path: Path) -> None:
    path = Path(save(tmp_path / "a.npy", draw(5, 7)))
    image = open_image(str(path), LIMIT)
    path.unlink()
    with pytest.raises(ImageError, match=r"cannot be read \(No such file"):
        image.read(((0, 5), (0, 7)))


@pytest.mark.parametrize("name", ["c/0/0", "zarr.json"])
def test_damaged_zarr_is_refused(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "a.zarr", draw(5, 7))
    damaged = tmp_path / "a.zarr" / name
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(ImageError, match=r"cannot be decoded \(.*export it again"):
        open_image(path, LIMIT).read(((0, 5), (0, 7)))


def test_a_group_is_no_image_but_its_arrays_are(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a.zarr").create_array("level0", shape=(5, 7), dtype="u1")
    message = complaint(tmp_path / "a.zarr", inspect_image)
    assert f"a group of Zarr arrays: name one of them, as {tmp_path}/a.zarr/level0" in message
    assert inspect_image(str(tmp_path / "a.zarr/level0"), LIMIT).sides == (5, 7)
    zarr.create_group(tmp_path / "b.zarr")
    assert f"as {tmp_path}/b.zarr/0" in complaint(tmp_path / "b.zarr", inspect_image)


def ome_zarr(folder: Path, values: np.ndarray, version: str) -> zarr.Group:
    """Two levels of an image (t, c, z, y, x), as a version of OME-Zarr has them."""
    is_newest = version == "0.5"
    group = zarr.create_group(folder, zarr_format=3 if is_newest else 2)
    group.create_array("full/s0", data=values)
    group.create_array("full/s1", data=values[..., ::2, ::2])
    image: dict[str, Any] = {"datasets": [{"path": "full/s0"}, {"path": "full/s1"}]}
    if version == "0.3":
        image["axes"] = list("tczyx")
    elif version != "0.1":
        image["axes"] = [{"name": name} for name in "tczyx"]
    group.attrs.update({"ome": {"multiscales": [image]}} if is_newest else {"multiscales": [image]})
    return group


@pytest.mark.parametrize("version", ["0.1", "0.3", "0.4", "0.5"])
@pytest.mark.parametrize("shape", [(1, 3, 1, 8, 6), (1, 1, 1, 8, 6), (1, 1, 5, 8, 6)])
def test_of_the_levels_of_an_image_the_full_one_is_read(
    tmp_path: Path, version: str, shape: tuple[int, ...]
) -> None:
    values = integers(*shape, top=99)
    ome_zarr(tmp_path / "a.zarr", values, version)
    image = open_image(str(tmp_path / "a.zarr"), LIMIT)
    pixels = image.format.from_unit(image.read())
    expected = values[0] if shape[2] > 1 else values[0, :, 0]
    np.testing.assert_array_equal(pixels, expected)
    assert image.name == "a"


def test_of_a_root_of_images_one_is_to_be_named(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    root.create_group("OME")
    ome_zarr(tmp_path / "a.zarr" / "0", integers(1, 3, 1, 8, 6), "0.4")
    message = complaint(tmp_path / "a.zarr", inspect_image)
    assert f"name one of them, as {tmp_path}/a.zarr/0" in message
    assert inspect_image(str(tmp_path / "a.zarr" / "0"), LIMIT).sides == (8, 6)


def test_levels_are_of_their_own_group(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "other.zarr", data=draw(9, 9))
    group = ome_zarr(tmp_path / "a.zarr", draw(1, 3, 1, 8, 6), "0.4")
    group.attrs["multiscales"] = [{"datasets": [{"path": "../other.zarr"}]}]
    assert "cannot be decoded" in complaint(tmp_path / "a.zarr", inspect_image)


def test_levels_that_are_no_arrays_are_named(tmp_path: Path) -> None:
    group = ome_zarr(tmp_path / "a.zarr", draw(1, 3, 1, 8, 6), "0.4")
    for level in ("gone", "full", 7):
        group.attrs["multiscales"] = [{"datasets": [{"path": "full/s0"}, {"path": level}]}]
        message = complaint(tmp_path / "a.zarr", inspect_image)
        assert f"and {level!r} of its multiscales' datasets is none: name one of them" in message


def test_giant_chunks_are_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(5, 7), chunks=(2**15, 2**15), dtype="u1")
    assert "write it in smaller chunks" in complaint(tmp_path / "a.zarr", inspect_image)
