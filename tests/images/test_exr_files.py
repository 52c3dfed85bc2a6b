"""OpenEXR files open with all channels of their first part."""

from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from image_files import LIMIT, complaint, noise, stored

from miner.images.source import inspect_image, open_image
from miner.signals.scratch import Scratch

SCANLINES = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}


def save(path: Path, channels: dict[str, np.ndarray], **header: object) -> str:
    with OpenEXR.File(SCANLINES | header, channels) as file:
        file.write(str(path))
    return str(path)


@pytest.mark.parametrize("name", ["NO", "ZIPS", "ZIP", "PIZ"])
@pytest.mark.parametrize("tiled", [False, True])
def test_values_are_kept(tmp_path: Path, scratch: Scratch, name: str, tiled: bool) -> None:
    values = noise(300, 5) * 4 - 1
    header = {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()} if tiled else {}
    header["compression"] = getattr(OpenEXR, f"{name}_COMPRESSION")
    path = save(tmp_path / "a.exr", {"R": values, "G": values + 1, "B": values + 2}, **header)
    image = open_image(path, LIMIT, scratch=scratch)
    expected = np.stack([values, values + 1, values + 2], axis=-1)
    np.testing.assert_allclose(stored(image), expected, atol=1e-6)
    assert inspect_image(path, LIMIT).sides == (300, 5)


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["A", "B", "G", "R"], "R G B A"),
        (["Y", "A"], "Y A"),
        (["Z", "X", "Y"], "Y X Z"),
        (["depth.Z", "R", "back.R", "B", "back.G", "G", "back.B"],
         "R G B back.R back.G back.B depth.Z"),
        (["C0001", "C0010", "C0002"], "C0001 C0002 C0010"),
    ],
)  # fmt: skip
def test_channels_come_in_order(tmp_path: Path, names: list[str], order: str) -> None:
    planes = {name: np.full((2, 3), number / 8, np.float32) for number, name in enumerate(names)}
    image = open_image(save(tmp_path / "a.exr", planes), LIMIT, value_range="dtype")
    assert image.read()[:, 0, 0].tolist() == [names.index(name) / 8 for name in order.split()]


def test_half_and_integer_channels_become_floats(tmp_path: Path) -> None:
    values = np.arange(6).reshape(2, 3)
    planes = {"id": values.astype(np.uint32), "Z": values.astype(np.float16)}
    image = open_image(save(tmp_path / "a.exr", planes), LIMIT)
    np.testing.assert_array_equal(image.format.from_unit(image.read()), [values, values])


def test_a_data_window_may_be_anywhere(tmp_path: Path) -> None:
    values = noise(9, 5)
    window = (np.array([-3, 20], np.int32), np.array([1, 28], np.int32))
    path = save(tmp_path / "a.exr", {"Y": values}, dataWindow=window)
    np.testing.assert_array_equal(open_image(path, LIMIT, value_range="dtype").read()[0], values)
    np.testing.assert_array_equal(
        open_image(path, LIMIT, 3, value_range="dtype").read()[0], values[3:6, 1:4]
    )


def test_only_the_first_part_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = noise(9, 5), noise(9, 5) + 1
    parts = [OpenEXR.Part(dict(SCANLINES), {"Y": first}, "first")]
    parts.append(OpenEXR.Part(dict(SCANLINES), {"Y": second}, "second"))
    with OpenEXR.File(parts) as file:
        file.write(str(tmp_path / "a.exr"))
    image = open_image(str(tmp_path / "a.exr"), LIMIT, value_range="dtype")
    np.testing.assert_array_equal(image.read(), [first])
    assert "several parts: only the first is read" in caplog.text
    assert "raise image.max_pixels to 45" in complaint(tmp_path / "a.exr", inspect_image, 44)


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_cut_file_is_refused(tmp_path: Path, scratch: Scratch, kept: float) -> None:
    path = Path(save(tmp_path / "a.exr", {"Y": noise(300, 5)}))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    message = complaint(path, scratch=scratch)
    assert "cannot be decoded (" in message
    assert message.endswith("export it again")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"v/1\x01\x02\0", b"v/1\x01\x02\x08", "deep samples, not pixels: flatten it"),
        (b"screenWindowWidth", b"screenWindowWidt\xe9", "cannot be decoded"),  # no encoding
    ],
)
def test_other_headers_are_refused(tmp_path: Path, old: bytes, new: bytes, reason: str) -> None:
    path = Path(save(tmp_path / "a.exr", {"Y": noise(2, 2)}))
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    assert reason in complaint(path, inspect_image)
