"""A damaged file opens with values of the unit range, or is refused in one line."""

import zlib
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pillow_heif
import pytest
from damaged_bytes import damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import LIMIT, integers

from miner.images.source import open_image
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

FILES = ("8.png", "16.png", "8.jpeg", "8.tiff", "16.tiff", "8.webp", "8.npy", "32.exr", "8.heic")


def write(path: Path) -> bytes:
    """A small picture, by the suffix and the bits that the path names."""
    values = integers(24, 20, 3, dtype=f"uint{path.stem}")
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".exr":
        with OpenEXR.File({}, {"RGB": values.astype(np.float32)}) as file:
            file.write(str(path))
    elif path.suffix == ".heic":
        pillow_heif.from_bytes("RGB", (20, 24), values.tobytes()).save(path)
    else:
        assert cv2.imwrite(str(path), values)
    return path.read_bytes()


def with_checksums(content: bytes) -> bytes:
    """A PNG with correct checksums: few damaged ones would reach the decoder."""
    fixed, at = content[:8], 8
    while at < len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        fixed += content[at:end] + zlib.crc32(content[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return fixed


@pytest.mark.parametrize("n_examples", [30, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore")  # libraries may warn of damage
def test_damaged_bytes_are_refused_or_harmless(name: str, n_examples: int, tmp_path: Path) -> None:
    sound, other = write(tmp_path / name), write(tmp_path / "8.webp")
    assert open_image(str(tmp_path / name), LIMIT).read().shape == (3, 24, 20)
    path = tmp_path / "damaged"

    @settings(max_examples=n_examples)
    @given(damaged(sound, other), st.booleans(), st.booleans())
    def check(content: bytes, signed: bool, in_file: bool) -> None:
        path.write_bytes(with_checksums(content) if signed and "png" in name else content)
        with Scratch(tmp_path / "scratch" if in_file else None) as scratch:
            try:
                pixels = open_image(str(path), LIMIT, scratch=scratch).read()
            except ImageError as error:
                assert len(str(error).splitlines()) == 1
            else:
                assert 0 <= pixels.min() <= pixels.max() <= 1

    check()
