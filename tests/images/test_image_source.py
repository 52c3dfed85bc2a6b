"""Paths, samples, and what is refused."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from miner.images import SAMPLES, ImageInfo, inspect_image, load_sample, open_image
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

LIMIT = 10**6
BOTH = pytest.mark.parametrize("read", [inspect_image, open_image])
ODD_NAMES = ["two words.png", "a(1).png", "été 日本.png", "a[page=1].png", "a[1]", "~draft.png"]
ODD_NAMES += ["#%&;'\"$.png", "-x.png", ".png", "line\nbreak.png"]
Read = Callable[[str, int], object]


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Make a PNG too random to shrink."""
    values = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def complaint(read: Read, path: str, max_pixels: int = LIMIT) -> str:
    """Give the message, which must be one line that names the path."""
    with pytest.raises(ImageError) as caught:
        read(path, max_pixels)
    message = str(caught.value)
    assert "\n" not in message
    assert repr(path) in message or repr(path.removeprefix("sample:")) in message
    return message


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
    message = complaint(read, str(noise.with_name("Noize.png")))
    assert message.endswith("does not exist: did you mean 'noise.png'?")


def test_missing_file_without_a_close_name(tmp_path: Path) -> None:
    assert "try 'sample:astronaut'" in complaint(inspect_image, str(tmp_path / "a.png"))


def test_missing_folder_is_named(tmp_path: Path) -> None:
    message = complaint(inspect_image, str(tmp_path / "nowhere" / "a.png"))
    assert f"neither does its folder, check {str(tmp_path / 'nowhere')!r}" in message


def test_bare_sample_name_suggests_the_prefix() -> None:
    assert "did you mean 'sample:camera'?" in complaint(inspect_image, "camera")


def test_nul_in_a_name_is_refused() -> None:
    assert "does not exist" in complaint(inspect_image, "a\0b.png")


def test_endless_name_is_refused() -> None:
    assert "check its name" in complaint(inspect_image, "a" * 5000)


@BOTH
def test_folder_is_refused(tmp_path: Path, read: Read) -> None:
    assert "folder: give the path of one image file" in complaint(read, str(tmp_path))


@BOTH
def test_empty_file_is_refused(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.png").touch()
    assert "is empty (0 bytes): copy or export" in complaint(read, str(tmp_path / "a.png"))


def test_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert "device or pipe: give" in complaint(inspect_image, str(tmp_path / "a.png"))


@BOTH
def test_unreadable_file_is_refused(
    noise: Path, monkeypatch: pytest.MonkeyPatch, read: Read
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root
    assert "(Permission denied): check its name and permissions" in complaint(read, str(noise))


@BOTH
@pytest.mark.parametrize("url", ["https://example.org/a.png", "file:///a.png", "s3://b/a.png"])
def test_url_is_refused(read: Read, url: str) -> None:
    assert "only local files are read; download it" in complaint(read, url)


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
    message = complaint(read, str(tmp_path / "a.png"))
    assert message.endswith("convert it to PNG or TIFF")


@BOTH
def test_damaged_exr_is_refused(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.exr").write_bytes(b"\x76\x2f\x31\x01" + bytes(100))
    message = complaint(read, str(tmp_path / "a.exr"))
    assert "cannot be decoded (Unable to open it for read): it is damaged" in message


@BOTH
def test_too_many_pixels_are_refused(noise: Path, read: Read) -> None:
    assert (
        "has 80 x 60 = 4800 pixels, more than image.max_pixels=4799: raise image.max_pixels to 4800"
        in complaint(read, str(noise), 4799)
    )
    read(str(noise), 4800)


@BOTH
def test_too_many_pixels_in_a_sample_are_refused(read: Read) -> None:
    assert "raise image.max_pixels" in complaint(read, "sample:camera", 1000)


@BOTH
def test_too_many_pixels_of_64_bits_are_refused(tmp_path: Path, read: Read) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 5)))
    assert "raise image.max_pixels" in complaint(read, str(tmp_path / "a.tif"), 24)


@pytest.mark.parametrize("kept", [0.99, 0.5])
@pytest.mark.parametrize("kind", ["png", "jpg", "progressive jpg", "tif", "webp", "gif"])
def test_cut_file_is_refused(noise: Path, kind: str, kept: float) -> None:
    path = noise.with_name(f"cut.{kind[-4:].strip()}")
    if kind == "tif":  # Pillow would put the header last, where any cut removes it
        tifffile.imwrite(path, np.asarray(Image.open(noise)))
    else:
        Image.open(noise).save(path, progressive=kind.startswith("progressive"))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    message = complaint(open_image, str(path))
    assert "export it again" in message or "convert it" in message
    with Scratch(noise.parent / "scratch") as scratch:
        assert complaint(partial(open_image, scratch=scratch), str(path)) == message


def test_png_with_a_wrong_checksum_is_refused(noise: Path) -> None:
    content = bytearray(noise.read_bytes())
    content[len(content) // 2] ^= 0xFF
    noise.write_bytes(content)
    assert "export it again" in complaint(open_image, str(noise))


def test_cut_64_bit_tiff_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((50, 50)))
    path.write_bytes(path.read_bytes()[:5000])
    assert "is cut short: it has 5000 bytes" in complaint(open_image, str(path))


@pytest.mark.slow
def test_strips_of_too_much_memory_are_refused(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (8000, 8000), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, rowsperstrip=8000, compression="zlib")
    with pytest.raises(ImageError, match=r"take too much memory.*save it as a TIFF of small tiles"):
        open_image(str(tmp_path / "a.tif"), 2**30)


def test_complex_tiff_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 5), np.complex64))
    assert "export it again as PNG or TIFF" in complaint(open_image, str(tmp_path / "a.tif"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, bad: float, dtype: type) -> None:
    with np.errstate(over="ignore"):
        tifffile.imwrite(tmp_path / "a.tif", np.array([[0.5, bad]]).astype(dtype))
    assert "must be finite in float32; replace" in complaint(open_image, str(tmp_path / "a.tif"))


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
    assert "use one of astronaut, hubble, retina" in complaint(read, "sample:lena")


def test_importing_loads_no_heavy_package() -> None:
    heavy = {"torch", "pytorch_lightning", "pyvips", "skimage", "tifffile", "OpenEXR", "zarr"}
    code = f"import sys, miner.images; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
