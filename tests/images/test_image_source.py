"""Paths, samples, and what is refused."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from image_files import LIMIT, complaint, integers
from image_files import noise as floats
from PIL import Image

from miner.images import (
    SAMPLES,
    ImageError,
    ImageInfo,
    file_digest,
    inspect_image,
    load_sample,
    open_image,
)
from miner.signals.scratch import Scratch

BOTH = pytest.mark.parametrize("read", [inspect_image, open_image])
ODD_NAMES = ["two words.png", "a(1).png", "été 日本.png", "a[page=1].png", "a[1]", "~draft.png"]
ODD_NAMES += ["#%&;'\"$.png", "-x.png", ".png", "line\nbreak.png"]
Read = Callable[[str, int], object]


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Make a PNG too random to shrink."""
    Image.fromarray(integers(60, 80, 3)).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_opens(noise: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    noise.rename(noise.with_name(name))
    monkeypatch.chdir(noise.parent)
    assert open_image(name, LIMIT).pixels.shape == (3, 60, 80)


def test_name_in_no_encoding_opens(noise: Path) -> None:
    odd = os.fsdecode(os.fsencode(noise.parent) + b"/\xff.png")
    try:
        noise.rename(odd)
    except OSError:
        pytest.skip("this file system wants UTF-8 names")
    assert open_image(odd, LIMIT).pixels.shape == (3, 60, 80)


def test_home_is_expanded(noise: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(noise.parent))
    assert inspect_image("~/noise.png", LIMIT) == ImageInfo("noise", 80, 60, 3, "uint8")


def test_sha256_is_of_the_file(noise: Path) -> None:
    digest = hashlib.sha256(noise.read_bytes()).hexdigest()
    assert open_image(str(noise), LIMIT).sha256 == digest


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_bytes_after_the_end_are_ignored(noise: Path, suffix: str) -> None:
    path = noise.with_name(f"long.{suffix}")
    Image.open(noise).save(path)
    path.write_bytes(path.read_bytes() + b"trailer")
    assert open_image(str(path), LIMIT).pixels.shape == (3, 60, 80)


def test_a_changed_file_is_read_anew(noise: Path) -> None:
    before = open_image(str(noise), LIMIT).pixels
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(noise)
    assert before.any()
    assert not open_image(str(noise), LIMIT).pixels.any()


@BOTH
def test_missing_file_suggests_a_close_name(noise: Path, read: Read) -> None:
    message = complaint(str(noise.with_name("Noize.png")), read)
    assert message.endswith("does not exist: did you mean 'noise.png'?")


def test_missing_file_without_a_close_name(tmp_path: Path) -> None:
    assert "try 'sample:astronaut'" in complaint(tmp_path / "a.png", inspect_image)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    message = complaint(str(tmp_path / "nowhere" / "a.png"), inspect_image)
    assert f"neither does its folder, check {str(tmp_path / 'nowhere')!r}" in message


def test_bare_sample_name_suggests_the_prefix() -> None:
    assert "did you mean 'sample:camera'?" in complaint("camera", inspect_image)


def test_nul_in_a_name_is_refused() -> None:
    assert "does not exist" in complaint("a\0b.png", inspect_image)


def test_endless_name_is_refused() -> None:
    assert "check its name" in complaint("a" * 5000, inspect_image)


@BOTH
def test_folder_is_refused(tmp_path: Path, read: Read) -> None:
    assert "folder: give the path of one image file" in complaint(tmp_path, read)


@BOTH
def test_empty_file_is_refused(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.png").touch()
    assert "is empty (0 bytes): copy or export" in complaint(tmp_path / "a.png", read)


def test_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert "device or pipe: give" in complaint(tmp_path / "a.png", inspect_image)


@BOTH
def test_unreadable_file_is_refused(
    noise: Path, monkeypatch: pytest.MonkeyPatch, read: Read
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root
    assert "cannot be read (Permission denied): check its name, its permissions" in complaint(
        noise, read
    )


@BOTH
@pytest.mark.parametrize("url", ["https://example.org/a.png", "file:///a.png", "s3://b/a.png"])
def test_url_is_refused(read: Read, url: str) -> None:
    assert "only local files are read; download it" in complaint(url, read)


@BOTH
@pytest.mark.parametrize(
    "content",
    [
        b"hello\n",
        b"2 2\n1 2\n3 4\n",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"\0",
    ],
    ids=["text", "matrix", "svg", "zero"],
)
def test_other_content_is_refused(tmp_path: Path, read: Read, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    message = complaint(tmp_path / "a.png", read)
    assert message.endswith("convert it to PNG or TIFF")


@BOTH
def test_damaged_exr_is_refused(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.exr").write_bytes(b"\x76\x2f\x31\x01" + bytes(100))
    message = complaint(str(tmp_path / "a.exr"), read)
    assert "cannot be decoded (RuntimeError: Unable to open it for read): it is damaged" in message


@BOTH
def test_too_many_pixels_are_refused(noise: Path, read: Read) -> None:
    assert (
        "has 80 x 60 = 4800 pixels, more than image.max_pixels=4799: raise image.max_pixels to 4800"
        in complaint(noise, read, 4799)
    )
    read(str(noise), 4800)


@BOTH
def test_too_many_pixels_in_a_sample_are_refused(read: Read) -> None:
    assert "raise image.max_pixels" in complaint("sample:camera", read, 1000)


@BOTH
def test_too_many_pixels_of_64_bits_are_refused(tmp_path: Path, read: Read) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 5)))
    assert "raise image.max_pixels" in complaint(tmp_path / "a.tif", read, 24)


@pytest.mark.parametrize("kept", [0.99, 0.5])
@pytest.mark.parametrize("kind", ["png", "jpg", "progressive jpg", "tif", "webp", "gif"])
def test_cut_file_is_refused(
    noise: Path, caplog: pytest.LogCaptureFixture, kind: str, kept: float
) -> None:
    path = noise.with_name(f"cut.{kind[-4:].strip()}")
    if kind == "tif":  # Pillow would put the header last, where any cut removes it
        tifffile.imwrite(path, np.asarray(Image.open(noise)))
    else:
        Image.open(noise).save(path, progressive=kind.startswith("progressive"))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    message = complaint(path)
    assert "export it again" in message or "convert it" in message
    with Scratch(noise.parent / "scratch") as scratch:
        assert complaint(path, scratch=scratch) == message
    assert not caplog.records  # the libraries' own messages are left out


def test_png_with_a_wrong_checksum_is_refused(noise: Path) -> None:
    content = bytearray(noise.read_bytes())
    content[len(content) // 2] ^= 0xFF
    noise.write_bytes(content)
    assert "export it again" in complaint(noise)


def test_cut_64_bit_tiff_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((50, 50)))
    path.write_bytes(path.read_bytes()[:5000])
    assert "is cut short: it has 5000 bytes" in complaint(path)


@pytest.mark.slow
def test_strips_of_too_much_memory_are_refused(tmp_path: Path) -> None:
    values = integers(8000, 8000)
    tifffile.imwrite(tmp_path / "a.tif", values, rowsperstrip=8000, compression="zlib")
    with pytest.raises(ImageError, match=r"take too much memory.*save it as a TIFF of small tiles"):
        open_image(str(tmp_path / "a.tif"), 2**30)


def test_complex_tiff_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 5), np.complex64))
    assert "export it again as PNG or TIFF" in complaint(tmp_path / "a.tif")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, bad: float, dtype: type) -> None:
    with np.errstate(over="ignore"):
        tifffile.imwrite(tmp_path / "a.tif", np.array([[0.5, bad]]).astype(dtype))
    assert "must be finite in float32; replace" in complaint(tmp_path / "a.tif")


def test_what_is_not_finite_is_counted_and_located(tmp_path: Path, scratch: Scratch) -> None:
    values = floats(40, 50, 3)
    values[30, 7, 2], values[30, 8, 0], values[39, 0, 1] = np.nan, np.inf, -np.inf
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    message = complaint(tmp_path / "a.tif", scratch=scratch)
    assert "1 NaN and 2 infinite values, the first at row 30, column 7, channel 2" in message
    assert message.endswith("replace them, say with 0")


def test_the_first_is_the_uppermost_whatever_the_tiles(tmp_path: Path) -> None:
    values = np.zeros((3000, 3000), np.float32)
    values[1500, 100] = values[7, 2500] = np.nan
    np.save(tmp_path / "a.npy", values)
    message = complaint(tmp_path / "a.npy", max_pixels=10**7)
    assert "2 NaN and 0 infinite values, the first at row 7, column 2500, channel 0" in message


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_opens_without_a_network(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("socket.socket.connect", None)
    image = open_image(f"sample:{name}", 10**7)
    channels, height_px, width_px = image.pixels.shape
    assert inspect_image(f"sample:{name}", 10**7) == ImageInfo(
        name, width_px, height_px, channels, "uint8"
    )
    restored = np.squeeze(image.format.from_unit(image.pixels).transpose(1, 2, 0))
    np.testing.assert_array_equal(restored, load_sample(name))
    assert len(image.sha256) == 64


@BOTH
def test_unknown_sample_lists_the_known(read: Read) -> None:
    assert "use one of astronaut, hubble, retina" in complaint("sample:lena", read)


def test_importing_loads_no_heavy_package() -> None:
    heavy = {"torch", "pytorch_lightning", "pyvips", "skimage", "tifffile", "OpenEXR", "zarr"}
    code = f"import sys, miner.images; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_digest_of_a_file_is_of_its_bytes_and_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"content")
    digest = file_digest(tmp_path / "a")
    assert digest == hashlib.sha256(b"content").hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", None)
        assert file_digest(tmp_path / "a") == digest
    (tmp_path / "a").write_bytes(b"other content")
    assert file_digest(tmp_path / "a") != digest


@pytest.mark.parametrize("change", ["content", "name", "more", "less"])
def test_digest_of_a_folder_depends_on_all_in_it(tmp_path: Path, change: str) -> None:
    for name in ("zarr.json", "c/0/0", "c/0/1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    before = file_digest(tmp_path)
    assert before == file_digest(tmp_path)
    match change:
        case "content":
            (tmp_path / "c/0/0").write_bytes(b"others")
        case "name":
            (tmp_path / "c/0/0").rename(tmp_path / "c/0/2")
        case "more":
            (tmp_path / "c/0/2").touch()
        case _:
            (tmp_path / "c/0/0").unlink()
    assert file_digest(tmp_path) != before
