"""Of a TIFF with several images the picture is read, or the stack that the file or caller names."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from corpus import join
from image_files import LIMIT, complaint, integers
from PIL import Image

from miner.images.source import inspect_image, open_image
from miner.signals.regions import whole

FULL, SMALL = integers(40, 60, 3), integers(10, 15, 3)
RGB: Any = {"photometric": "rgb", "metadata": None}


def read(path: Path, axes: str | None = None) -> np.ndarray:
    """Stored values (*S, C)."""
    image = open_image(str(path), LIMIT, axes=axes)
    return image.read_stored(whole(image.sides))


def remarks(path: Path) -> str:
    return "; ".join(inspect_image(str(path), LIMIT).remarks)


@pytest.mark.parametrize("place", ["SubIFD", "later page", "after a mask"])
def test_a_thumbnail_is_not_taken_for_the_image(tmp_path: Path, place: str) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        if place == "after a mask":
            file.write(integers(10, 15) > 99, subfiletype=4, metadata=None)
        file.write(SMALL, subfiletype=1, subifds=place == "SubIFD", **RGB)
        file.write(FULL, subfiletype=0, **RGB)
    np.testing.assert_array_equal(read(path), FULL)
    assert "pages" not in remarks(path)
    assert ("transparency mask" in remarks(path)) == (place == "after a mask")


@pytest.mark.parametrize("ome", [False, True])
@pytest.mark.parametrize("in_subifds", [False, True])
def test_of_a_pyramid_the_full_resolution_is_read(
    tmp_path: Path, in_subifds: bool, ome: bool
) -> None:
    path, metadata = tmp_path / "a.tif", {"axes": "YXS"} if ome else None
    with tifffile.TiffWriter(path, ome=ome) as file:
        options: Any = {"photometric": "rgb", "tile": (16, 16), "metadata": metadata}
        file.write(FULL, subifds=2 if in_subifds else None, **options)
        for step in (2, 4):
            options["metadata"] = None
            file.write(np.ascontiguousarray(FULL[::step, ::step]), subfiletype=1, **options)
    np.testing.assert_array_equal(read(path), FULL)
    assert remarks(path) == ""


def test_a_copy_of_what_is_not_there_and_a_larger_page_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, SMALL, subfiletype=1, **RGB)
    np.testing.assert_array_equal(read(path), SMALL)
    assert remarks(path) == "is a reduced copy or a mask of an image that is not in the file"
    with tifffile.TiffWriter(path) as file:
        file.write(SMALL, **RGB)
        file.write(FULL, **RGB)
    np.testing.assert_array_equal(read(path), SMALL)
    assert "the largest has 60x40 pixels" in remarks(path)


@pytest.mark.parametrize(("photometric", "name"), [(32803, "CFA"), (34892, "LINEAR_RAW")])
def test_raw_sensor_data_behind_a_thumbnail_are_refused(
    tmp_path: Path, photometric: int, name: str
) -> None:
    path = tmp_path / "a.dng"
    raw = FULL.astype(np.uint16) if name == "LINEAR_RAW" else FULL[..., 0].astype(np.uint16)
    extra = {"extratags": [(33421, "H", 2, (2, 2), True)]} if name == "CFA" else {}
    with tifffile.TiffWriter(path) as file:
        file.write(SMALL, subfiletype=1, subifds=1, **RGB)
        file.write(raw, photometric=photometric, metadata=None, **extra)
    assert f"holds raw sensor data ({name})" in complaint(path)


STACKS = {  # how a file says what its axes are: its shape, its axes, the values as (*S, C)
    "ome": ((5, 9, 7), "ZYX", (0, 1, 2)),
    "ome channels": ((2, 5, 9, 7), "CZYX", (1, 2, 3, 0)),
    "ome rgb": ((5, 9, 7, 3), "ZYXS", (0, 1, 2, 3)),
    "imagej": ((5, 9, 7), "ZYX", (0, 1, 2)),
    "imagej channels": ((5, 2, 9, 7), "ZCYX", (0, 2, 3, 1)),
    "shaped": ((5, 9, 7), "ZYX", (0, 1, 2)),
    "shaped channels": ((6, 9, 7), "CYX", (1, 2, 0)),
    "shaped without names": ((3, 9, 7), None, (1, 2, 0)),
}


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", STACKS)
def test_axes_that_the_file_names_are_used(tmp_path: Path, kind: str, compression: Any) -> None:
    shape, axes, order = STACKS[kind]
    values, path = integers(*shape, dtype="uint16"), tmp_path / "a.tif"
    options: Any = {"imagej": True} if "imagej" in kind else {"ome": "ome" in kind}
    photometric = "rgb" if shape[-1] == 3 else "minisblack"
    options |= {"metadata": {"axes": axes} if axes else {}, "photometric": photometric}
    tifffile.imwrite(path, values, compression=compression, **options)
    expected = values.transpose(order)
    expected = expected if expected.ndim > 3 or "C" in (axes or "C") else expected[..., None]
    np.testing.assert_array_equal(read(path), expected)


def test_planes_behind_one_header_are_read(tmp_path: Path) -> None:
    values, path = integers(5, 9, 7, dtype="uint16"), tmp_path / "a.tif"
    tifffile.imwrite(
        path, values[0], metadata=None, description="ImageJ=1.53\nimages=5\nslices=5\n"
    )
    path.write_bytes(path.read_bytes() + values[1:].tobytes())
    np.testing.assert_array_equal(read(path)[..., 0], values)


def test_pages_that_can_be_read_in_several_ways_are_refused(tmp_path: Path) -> None:
    values, path = integers(6, 9, 7), tmp_path / "a.tif"
    tifffile.imwrite(path, values, photometric="minisblack")
    assert "has axes of (6, 9, 7), which can be read as CHW" in complaint(path)
    np.testing.assert_array_equal(read(path, "DHW")[..., 0], values)


@pytest.mark.parametrize("axes", ["DHWC", "CDHW", "DCHW"])
@pytest.mark.parametrize("one_by_one", [False, True])
def test_given_axes_of_four_hold_for_pages(tmp_path: Path, axes: str, one_by_one: bool) -> None:
    shape = {"D": 5, "C": 3, "H": 9, "W": 7}
    values, path = integers(*(shape[axis] for axis in axes)), tmp_path / "a.tif"
    options: Any = {"photometric": "rgb" if axes == "DHWC" else "minisblack"}
    with tifffile.TiffWriter(path) as file:
        for page in values if one_by_one and axes == "DHWC" else [values]:
            file.write(page, contiguous=False, **options)
    expected = values.transpose([axes.index(axis) for axis in "DHWC"])
    np.testing.assert_array_equal(read(path, axes), expected)
    image = open_image(str(path), LIMIT, 4, axes=axes)
    np.testing.assert_array_equal(image.read_stored(whole(image.sides)), expected[:4, 2:6, 1:5])


def test_no_data_is_kept_as_text(tmp_path: Path) -> None:
    path, tags = tmp_path / "a.tif", [(42113, "s", 0, "-9999 ", True)]
    tifffile.imwrite(path, np.zeros((5, 5), np.int16), extratags=tags)
    assert inspect_image(str(path), LIMIT).metadata.nodata == "-9999"
    tifffile.imwrite(path, np.zeros((5, 5), np.int16))
    assert inspect_image(str(path), LIMIT).metadata.nodata == ""


def test_a_crop_decodes_its_own_tiles_alone(tmp_path: Path) -> None:
    path, values = tmp_path / "a.tif", integers(90, 90)
    tifffile.imwrite(path, values, tile=(32, 32), compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages.first
        first, size = page.dataoffsets[0], page.databytecounts[0]
    content = bytearray(path.read_bytes())
    content[first : first + size] = b"\xaa" * size
    path.write_bytes(content)
    assert "cannot be decoded" in complaint(path)
    image = open_image(str(path), LIMIT, 20)
    np.testing.assert_array_equal(
        image.read_stored(whole(image.sides))[..., 0], values[35:55, 35:55]
    )


def test_jpeg_of_fewer_colours_matches_another_decoder(tmp_path: Path) -> None:
    smooth = np.indices((48, 64)).sum(0)[..., None] * [1, 2, 1] % 256
    path = tmp_path / "a.tif"
    Image.fromarray(smooth.astype(np.uint8)).save(path, compression="jpeg", quality=90)
    with Image.open(path) as file:
        expected = np.asarray(file.convert("RGB")).astype(int)
    assert np.abs(read(path) - expected).max() <= 1


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax_is_read(tmp_path: Path, compression: str) -> None:
    bits = np.repeat(integers(9, 12) > 128, 3, axis=1)
    Image.fromarray(bits).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[..., 0], bits * 255)


@pytest.mark.parametrize("compression", ["zstd", "deflate", None])
def test_lerc_within_another_compression_is_read(tmp_path: Path, compression: Any) -> None:
    values, path = integers(30, 20, 3, dtype="uint16"), tmp_path / "a.tif"
    options = {"compression": compression} if compression else {}
    tifffile.imwrite(path, values, photometric="rgb", compression="lerc", compressionargs=options)
    np.testing.assert_array_equal(read(path), values)


@pytest.mark.parametrize("planar", [False, True])
def test_lerc_with_a_mask_or_in_bands_is_refused(tmp_path: Path, planar: bool) -> None:
    values, path = integers(4, 20, 30) / np.float32(7), tmp_path / "a.tif"
    if not planar:
        values = np.ascontiguousarray(values.transpose(1, 2, 0))
    mask = np.arange(20 * 30).reshape(20, 30) != 7
    data = imagecodecs.lerc_encode(values, planar=planar, masks=None if planar else mask)
    tags = {256: 30, 257: 20, 259: 34887, 262: 1, 273: 8, 277: 4, 278: 20, 279: len(data)}
    many = {258: ("H", [32] * 4), 338: ("H", [0] * 3), 339: ("H", [3] * 4)}
    path.write_bytes(join("<", data, {n: ("I", [value]) for n, value in tags.items()} | many))
    assert "compressed by LERC with a mask or in bands" in complaint(path)


def test_tiles_left_out_hold_no_data(tmp_path: Path) -> None:
    path, values = tmp_path / "a.tif", integers(40, 60, top=99).astype(np.int16)
    tags = [(42113, "s", 0, "-9999", True)]
    tifffile.imwrite(path, values, tile=(32, 32), compression="zlib", extratags=tags)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for code in (324, 325):
            tag: Any = tiff.pages.first.tags[code]
            tag.overwrite([0, *tag.value[1:]])
    mask = open_image(str(path), LIMIT).mask
    assert mask is not None
    valid = mask.valid(((0, 40), (0, 60)))
    assert not valid[:32, :32].any() and valid.sum() == values.size - 32 * 32
    np.testing.assert_array_equal(read(path)[..., 0][valid], values[valid])
    assert "lacks 1 of its tiles: they are read as -9999" in remarks(path)


def test_names_of_a_stack_hold_for_palettes(tmp_path: Path) -> None:
    path, values = tmp_path / "a.tif", integers(5, 9, 7)
    table = integers(3, 256, dtype="uint16")
    options: Any = {"photometric": "palette", "colormap": table, "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(path, values, **options)
    np.testing.assert_array_equal(read(path), (table >> 8).T[values])


def test_an_image_of_more_pixels_counts_not_one_of_more_bytes(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.zeros((16, 16, 3)), photometric="rgb", subifds=1)
        writer.write(np.full((32, 32), 7, np.uint8))
    assert open_image(str(tmp_path / "a.tif")).sides == (32, 32)
