"""Files that hold several pictures, or what libvips alone does not read, open as people expect."""

import sys
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pillow_heif
import pytest
import pyvips
from image_files import LIMIT, complaint, integers, stored
from PIL import Image, ImageOps

from miner.images.source import inspect_image, open_image
from miner.signals.scratch import Scratch

LOSSLESS: Any = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}
ONLY_FIRST = "3 pages or frames: only the first is read"


def smooth(*shape: int, seed: int = 0) -> np.ndarray:
    """Bytes (H, W, C) that lossy formats keep."""
    small = np.random.default_rng(seed).integers(0, 256, (3, 3, shape[2]), np.uint8)
    large = cv2.resize(small, shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return large.reshape(shape)


def by_pillow(path: Path, mode: str | None = None) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(ImageOps.exif_transpose(file).convert(mode or file.mode))


def check(path: Path, expected: np.ndarray, tolerance: int = 0) -> None:
    """The file holds the values, in memory and in a scratch file, whole and in its middle."""
    image = open_image(str(path), LIMIT, value_range="dtype")
    assert image.format.dtype == expected.dtype
    np.testing.assert_allclose(stored(image).astype(int), expected.astype(int), atol=tolerance)
    with Scratch(path.parent / "scratch") as scratch:
        part = open_image(str(path), LIMIT, 9, scratch, value_range="dtype")
        (top, left) = ((side - 9) // 2 for side in image.sides)
        np.testing.assert_array_equal(stored(part), stored(image)[top : top + 9, left : left + 9])
    info = inspect_image(str(path), LIMIT)
    assert (*info.sides, info.n_channels, info.dtype) == (*expected.shape, expected.dtype)


@pytest.mark.parametrize("orientation", [1, 6])
def test_of_ultra_hdr_the_base_image_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, orientation: int
) -> None:
    bright = pyvips.Image.new_from_array(smooth(40, 56, 3)).copy(interpretation="srgb")
    bright = bright.colourspace("scrgb") * 4
    bright = bright.copy(interpretation="scrgb")
    bright.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    bright.uhdrsave(str(tmp_path / "a.jpg"))
    assert b"MPF\0" in (tmp_path / "a.jpg").read_bytes()
    expected = by_pillow(tmp_path / "a.jpg")
    assert expected.shape == ((40, 56, 3) if orientation == 1 else (56, 40, 3))
    check(tmp_path / "a.jpg", expected, tolerance=1)
    assert "gain map for HDR: the base image is read" in caplog.text
    assert "only the first" not in caplog.text


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_heic_is_read(
    tmp_path: Path, channels: int, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
    values = integers(24, 40, channels)
    if bits > 8:
        values = integers(24, 40, channels, dtype="uint16", top=2**bits - 1) << (16 - bits)
    mode = {1: "L" if bits == 8 else "I", 3: "RGB", 4: "RGBA"}[channels]
    kind = mode if bits == 8 else f"{mode};16"
    file = pillow_heif.from_bytes(kind, (40, 24), values.tobytes())
    file.save(tmp_path / "a.heic", **LOSSLESS)
    check(tmp_path / "a.heic", values)


@pytest.mark.parametrize("orientation", [1, 2, 3, 5, 6, 8])
def test_heic_is_turned_upright_once(tmp_path: Path, orientation: int) -> None:
    picture, exif = Image.fromarray(integers(24, 40, 3)), Image.Exif()
    exif[0x0112] = orientation
    file = pillow_heif.from_pillow(picture)
    file.info["exif"] = exif.tobytes()  # from which the writer takes HEIF's own turns
    file.save(tmp_path / "a.heic", **LOSSLESS)
    picture.getexif()[0x0112] = orientation
    check(tmp_path / "a.heic", np.asarray(ImageOps.exif_transpose(picture)))


def test_of_a_heif_collection_the_primary_picture_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, pictures = pillow_heif.HeifFile(), [smooth(24, 40, 3, seed=seed) for seed in range(3)]
    for values in pictures:
        file.add_from_pillow(Image.fromarray(values))
    file.save(tmp_path / "a.heic", primary_index=1, **LOSSLESS)
    check(tmp_path / "a.heic", pictures[1])
    assert "has 3 pictures: only the primary one is read" in caplog.text


def test_heic_that_cannot_be_read_is_refused_by_its_codec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.heic"
    file = pillow_heif.from_pillow(Image.fromarray(integers(24, 40, 4)).convert("RGBa"))
    file.save(path, **LOSSLESS)
    assert "colours multiplied by alpha" in complaint(path, inspect_image)
    pillow_heif.from_pillow(Image.fromarray(integers(24, 40, 3))).save(path, **LOSSLESS)
    content = path.read_bytes()
    path.write_bytes(content[:-99])
    assert "cannot be decoded" in complaint(path)
    path.write_bytes(content.replace(b"hvc1", b"lhv1"))
    message = complaint(path, inspect_image)
    assert "Layered HEVC images (lhv1) are not supported yet" in message
    assert message.endswith(": convert it to PNG or TIFF")
    path.write_bytes(content)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    message = complaint(path, inspect_image)
    assert 'compressed by HEVC, which is not read here: pip install "miner[heif]"' in message


def test_avif_is_read_by_libvips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    picture = Image.fromarray(smooth(24, 40, 4))
    picture.save(tmp_path / "a.avif", quality=100, subsampling="4:4:4")
    check(tmp_path / "a.avif", by_pillow(tmp_path / "a.avif"), tolerance=2)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.png", {"default_image": True}),
        ("a.mpo", {"quality": 100, "subsampling": 0}),
        ("a.gif", {}),
        ("a.webp", {"lossless": True}),
        ("a.avif", {"quality": 100, "subsampling": "4:4:4"}),
    ],
)
def test_of_several_frames_the_first_is_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, options: dict[str, Any]
) -> None:
    first, *others = (Image.fromarray(smooth(24, 40, 3, seed=seed)) for seed in range(3))
    first.save(tmp_path / name, save_all=True, append_images=others, **options)
    with Image.open(tmp_path / name) as file:
        assert file.n_frames == 3
    expected = by_pillow(tmp_path / name, "RGB")
    image = open_image(str(tmp_path / name), LIMIT)
    np.testing.assert_allclose(stored(image)[..., :3].astype(int), expected.astype(int), atol=3)
    assert ("only the first frame" if ".avif" in name else ONLY_FIRST) in caplog.text


def test_previews_of_a_jpeg_are_not_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (Image.fromarray(smooth(24, 40, 3, seed=seed)) for seed in range(2))
    first.save(tmp_path / "a.mpo", save_all=True, append_images=[second])
    content = (tmp_path / "a.mpo").read_bytes()
    kind = content.index((0x030000).to_bytes(4, "little")) + 16  # of the second picture
    vga_preview = (0x010001).to_bytes(4, "little")
    (tmp_path / "a.jpg").write_bytes(content[:kind] + vga_preview + content[kind + 4 :])
    open_image(str(tmp_path / "a.mpo"), LIMIT)
    assert "2 pages or frames" in caplog.text
    caplog.clear()
    open_image(str(tmp_path / "a.jpg"), LIMIT)
    assert caplog.text == ""


def test_radiance_files_are_decoded_where_libvips_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = integers(24, 40, 3, top=4).astype(np.float32)
    packed = pyvips.Image.new_from_array(values).float2rad().copy()
    packed.set_type(pyvips.GValue.gstr_type, "vips-loader", "radload_source")
    monkeypatch.setattr(pyvips.Image, "new_from_source", lambda *_, **__: packed)
    Image.fromarray(integers(24, 40, 3)).save(tmp_path / "a.hdr", format="BMP")
    np.testing.assert_allclose(
        stored(open_image(str(tmp_path / "a.hdr"), LIMIT)), values, rtol=0.01, atol=0.02
    )


def test_a_thumbnail_in_heic_is_not_taken_for_the_picture(tmp_path: Path) -> None:
    values = integers(96, 160, 3)
    file = pillow_heif.from_pillow(Image.fromarray(values))
    file.info["thumbnails"] = [64]
    file.save(tmp_path / "a.heic", **LOSSLESS)
    assert pillow_heif.open_heif(tmp_path / "a.heic").info["thumbnails"] == [64]
    check(tmp_path / "a.heic", values)


def test_other_formats_are_refused_by_name(tmp_path: Path) -> None:
    values, path = integers(24, 40, 3), tmp_path / "a.jxl"
    for name, content in [
        ("JPEG XL", imagecodecs.jpegxl_encode(values)),
        ("JPEG XL", imagecodecs.jpegxl_encode(values, usecontainer=True)),
        ("JPEG 2000", imagecodecs.jpeg2k_encode(values, codecformat="jp2")),
        ("JPEG 2000", imagecodecs.jpeg2k_encode(values, codecformat="j2k")),
    ]:
        path.write_bytes(content)
        assert f"is {name}, which libvips lacks here: convert" in complaint(path)


@pytest.mark.parametrize("suffix", ["svg", "v", "csv", "mat"])
def test_drawings_tables_and_memory_of_libvips_are_no_images(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "svg":
        path.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    else:
        pyvips.Image.new_from_array(integers(24, 40)).write_to_file(str(path))
    assert "is not an image of a known format (PNG, " in complaint(path, inspect_image)
