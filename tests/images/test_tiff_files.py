"""TIFF files open as what they hold, or are refused in a line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from image_files import LIMIT, complaint, integers
from PIL import Image

from miner.images.source import open_image
from miner.signals.scratch import Scratch


def draw(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return integers(*shape, top=100).astype(dtype)


def read(path: Path, scratch: Scratch) -> np.ndarray:
    image = open_image(str(path), LIMIT, scratch=scratch)
    return image.format.from_unit(image.read())


def make_tiled(path: Path, compression: str | None = "zlib", dtype: str = "uint8") -> np.ndarray:
    """Write 2 x 2 tiles; gives (C, H, W)."""
    values = draw(40, 60, 3, dtype=dtype)
    tifffile.imwrite(path, values, photometric="rgb", tile=(32, 32), compression=compression)
    return values.transpose(2, 0, 1)


def segments(path: Path) -> list[tuple[int, int]]:
    with tifffile.TiffFile(path) as tiff:
        page: Any = tiff.pages.first
        return list(zip(page.dataoffsets, page.databytecounts, strict=True))


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_cut_tiled_file_is_refused(
    tmp_path: Path, scratch: Scratch, compression: Any, dtype: str
) -> None:
    path = tmp_path / "a.tif"
    values = make_tiled(path, compression, dtype)
    np.testing.assert_allclose(read(path, scratch), values, rtol=1e-6)
    whole, end = path.read_bytes(), max(sum(segment) for segment in segments(path))
    for n_left in (end - 1, end // 2):
        path.write_bytes(whole[:n_left])
        assert f"is cut short: it has {n_left} bytes and its pixels end at byte {end}" in complaint(
            path, scratch=scratch
        )


def test_a_damaged_tile_is_refused(tmp_path: Path, scratch: Scratch) -> None:
    path = tmp_path / "a.tif"
    make_tiled(path)
    content = bytearray(path.read_bytes())
    first, size = segments(path)[1]
    content[first : first + size] = b"\xaa" * size
    path.write_bytes(content)
    assert "cannot be decoded" in complaint(path, scratch=scratch)


def test_a_tile_left_out_is_zeros_with_a_remark(
    tmp_path: Path, scratch: Scratch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.tif"
    values = make_tiled(path)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for code in (324, 325):
            tag: Any = tiff.pages.first.tags[code]
            tag.overwrite([0, *tag.value[1:]])
    values[:, :32, :32] = 0
    np.testing.assert_array_equal(read(path, scratch), values)
    assert "lacks 1 of its tiles: they are read as zeros" in caplog.text


def test_odd_but_sound_headers_are_read(tmp_path: Path, scratch: Scratch) -> None:
    path, values = tmp_path / "a.tif", draw(9, 7, 3)
    tags = [(65000, "H", 1, 3, True), (270, "B", 3, (65, 66, 67), True)]
    tifffile.imwrite(path, values, photometric="rgb", extratags=tags)  # unknown, without a NUL
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags[279].overwrite(2**31)  # far more bytes than there are
    np.testing.assert_array_equal(read(path, scratch), values.transpose(2, 0, 1))


@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize(("n", "photometric"), [(2, "minisblack"), (5, "minisblack"), (4, "rgb")])
def test_planes_are_channels(
    tmp_path: Path, scratch: Scratch, n: int, photometric: Any, dtype: str, tile: Any
) -> None:
    path, values = tmp_path / "a.tif", draw(n, 21, 35, dtype=dtype)
    tifffile.imwrite(
        path, values, photometric=photometric, planarconfig="separate", tile=tile, predictor=False
    )
    found = read(path, scratch)
    np.testing.assert_allclose(found, values, rtol=1e-6)  # floats are mapped from their range
    assert found.dtype == dtype


def test_other_colours_and_values_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((5, 5), np.complex64))
    assert "holds complex64 values" in complaint(path)
    for compression in ("raw", "tiff_lzw"):
        Image.fromarray(draw(9, 7, 3)).convert("YCbCr").save(path, compression=compression)
        assert "is in YCbCr that is not compressed by JPEG" in complaint(path)


def test_ycbcr_in_jpeg_is_read(tmp_path: Path, scratch: Scratch) -> None:
    path = tmp_path / "a.tif"
    Image.new("YCbCr", (32, 32), (76, 85, 255)).save(path, compression="jpeg")  # red
    red, green, blue = read(path, scratch).mean(axis=(1, 2))
    assert red > 245
    assert max(green, blue) < 10


@pytest.mark.parametrize("orientation", range(1, 9))
def test_wide_values_are_turned_upright(tmp_path: Path, orientation: int) -> None:
    values, found = draw(5, 7, 3), []
    for dtype in ("uint8", "float64"):
        path, tags = tmp_path / f"{dtype}.tif", [(274, "H", 1, orientation, True)]
        tifffile.imwrite(path, values.astype(dtype), photometric="rgb", extratags=tags)
        found.append(read(path, Scratch(None)))
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_associated_alpha_is_remarked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = np.full((4, 4, 4), 64, np.uint8)
    for kind in ("unassalpha", "assocalpha"):
        tifffile.imwrite(tmp_path / f"{kind}.tif", values, photometric="rgb", extrasamples=[kind])
        open_image(str(tmp_path / f"{kind}.tif"), LIMIT)
    assert caplog.text.count("has associated alpha: the colours are divided by it") == 1
