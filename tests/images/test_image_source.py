"""Paths, samples, and what is refused."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from image_files import LIMIT, complaint, integers
from image_files import noise as floats
from PIL import Image

from miner.images.source import SAMPLES, file_digest, inspect_image, load_sample, open_image
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
    assert open_image(name, LIMIT).read().shape == (3, 60, 80)


def test_name_in_no_encoding_opens(noise: Path) -> None:
    odd = os.fsdecode(os.fsencode(noise.parent) + b"/\xff.png")
    try:
        noise.rename(odd)
    except OSError:
        pytest.skip("this file system wants UTF-8 names")
    assert open_image(odd, LIMIT).read().shape == (3, 60, 80)


def test_home_is_expanded(noise: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(noise.parent))
    info = inspect_image("~/noise.png", LIMIT)
    assert (info.name, *info.sides, info.n_channels, info.dtype) == ("noise", 60, 80, 3, "uint8")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_bytes_after_the_end_are_ignored(noise: Path, suffix: str) -> None:
    path = noise.with_name(f"long.{suffix}")
    Image.open(noise).save(path)
    path.write_bytes(path.read_bytes() + b"trailer")
    assert open_image(str(path), LIMIT).read().shape == (3, 60, 80)


def test_a_changed_file_is_read_again(noise: Path) -> None:
    before = open_image(str(noise), LIMIT)
    assert before.sha256 == hashlib.sha256(noise.read_bytes()).hexdigest()
    assert before.read().any()
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(noise)
    after = open_image(str(noise), LIMIT)
    assert after.sha256 == hashlib.sha256(noise.read_bytes()).hexdigest()
    assert not after.read().any()


@BOTH
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("other", "does not exist: check the path, or try 'sample:moon'"),
        ("Noize.png", "does not exist: did you mean 'noise.png'?"),
        ("camera", "did you mean 'sample:camera'?"),
        ("sample:lena", "use one of astronaut, hubble, retina"),
        ("a\0b.png", "does not exist"),
        ("a" * 5000, "check its name"),
        (".", "folder: give the path of one image file"),
        ("empty.png", "is not an image of a known format"),
        ("fifo", "device or pipe: give"),
        ("https://example.org/a.png", "only local files are read; download it"),
        ("file:///a.png", "only local files are read; download it"),
        ("s3://b/a.png", "only local files are read; download it"),
    ],
)
def test_other_paths_are_refused(
    noise: Path, monkeypatch: pytest.MonkeyPatch, read: Read, path: str, reason: str
) -> None:
    monkeypatch.chdir(noise.parent)
    Path("empty.png").touch()
    os.mkfifo("fifo")
    assert reason in complaint(path, read)


@BOTH
def test_unreadable_file_is_refused(
    noise: Path, monkeypatch: pytest.MonkeyPatch, read: Read
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root
    reason = "cannot be read (Permission denied): check its name, its permissions"
    assert reason in complaint(noise, read)


@BOTH
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello\n", "convert it to PNG or TIFF"),
        (b"2 2\n1 2\n3 4\n", "convert it to PNG or TIFF"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "convert it to PNG"),
        (b"\0", "convert it to PNG or TIFF"),
        (b"\x76\x2f\x31\x01" + bytes(100), "(RuntimeError: Unable to open it for read): it is"),
    ],
    ids=["text", "matrix", "svg", "zero", "damaged exr"],
)
def test_other_content_is_refused(tmp_path: Path, read: Read, content: bytes, reason: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert reason in complaint(tmp_path / "a.png", read)


@BOTH
def test_too_many_pixels_are_refused(noise: Path, read: Read) -> None:
    reason = "has 80 x 60 = 4800 pixels, more than image.max_pixels=4799: raise image.max_pixels to"
    assert f"{reason} 4800 or more" in complaint(noise, read, 4799)
    read(str(noise), 4800)
    assert "raise image.max_pixels" in complaint("sample:camera", read, 1000)
    tifffile.imwrite(noise.with_suffix(".tif"), np.zeros((5, 5)))
    assert "raise image.max_pixels to 25" in complaint(noise.with_suffix(".tif"), read, 24)


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


def test_a_wrong_checksum_is_refused(noise: Path) -> None:
    content = bytearray(noise.read_bytes())
    content[len(content) // 2] ^= 0xFF
    noise.write_bytes(content)
    assert "export it again" in complaint(noise)


@pytest.mark.slow
def test_strips_of_too_much_memory_are_refused(tmp_path: Path) -> None:
    values = np.zeros((16000, 17000), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, rowsperstrip=16000, compression="zlib")
    message = complaint(tmp_path / "a.tif", max_pixels=2**30)
    assert "has strips or tiles of 272000000 bytes each: save it as an uncompressed" in message


@pytest.mark.parametrize(("dtype", "huge"), [("float32", np.inf), ("float64", 1e300)])
def test_what_is_not_finite_is_counted(
    tmp_path: Path, scratch: Scratch, dtype: str, huge: float
) -> None:
    values = floats(40, 50, 3).astype(dtype)
    values[30, 7, 2], values[30, 8, 0], values[39, 0, 1] = np.nan, huge, -np.inf
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    message = complaint(tmp_path / "a.tif", scratch=scratch)
    assert "holds 3 values that are NaN or infinite" in message
    assert message.endswith("replace them, say with 0")


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_opens_without_a_network(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("socket.socket.connect", None)
    image = open_image(f"sample:{name}", 10**7)
    info = inspect_image(f"sample:{name}", 10**7)
    assert (info.name, info.dtype, info.n_channels, *info.sides) == (
        *(name, "uint8"),
        *image.read().shape,
    )
    restored = np.squeeze(image.format.from_unit(image.read()).transpose(1, 2, 0))
    np.testing.assert_array_equal(restored, load_sample(name))
    assert len(image.sha256) == 64


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_is_what_scikit_image_reads(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    found = load_sample(name)
    monkeypatch.setattr("skimage.__file__", "/nowhere/__init__.py")  # as if it were not shipped
    load_sample.cache_clear()
    by_scikit_image = load_sample(name)
    assert (found.dtype, found.flags.writeable) == (np.uint8, True)
    np.testing.assert_array_equal(found, by_scikit_image)


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


def test_digest_of_a_folder_depends_on_all_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "c" / "0"
    folder.mkdir(parents=True)
    found = [file_digest(tmp_path)]
    for change in (
        (tmp_path / "zarr.json").touch,
        lambda: (folder / "1").write_bytes(b"content"),
        lambda: (folder / "1").rename(folder / "2"),
        lambda: (folder / "2").write_bytes(b"others"),
        (folder / "2").unlink,
    ):
        change()
        found.append(file_digest(tmp_path))
        assert found[-1] == file_digest(tmp_path)
    assert len(set(found)) == len(found) - 1  # the last change undoes those after the first
