"""Finding and opening image files and samples."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.arrays import NPY_MAGIC, open_npy, open_zarr
from miner.images.exr import EXR_MAGIC, open_exr
from miner.images.pixel_format import DecodedImage
from miner.images.tiff import TIFF_MAGICS, open_tiff
from miner.images.vips import open_vips_file
from miner.support.errors import ImageError

SAMPLES: tuple[str, ...] = (
    "astronaut",
    "hubble",
    "retina",
    "coffee",
    "chelsea",
    "rocket",
    "camera",
    "brick",
    "moon",
)


SAMPLE_PREFIX = "sample:"


def load_sample(name: str) -> NDArray[np.uint8]:
    """Load one of `SAMPLES`: (H, W) for camera, brick and moon, else (H, W, 3), in 0..255.

    Raises `ImageError` if the name is not one of them.
    """
    if name not in SAMPLES:
        raise ImageError(f"sample {name!r} does not exist: use one of {', '.join(SAMPLES)}")
    from skimage import data

    load: Any = getattr(data, "hubble_deep_field" if name == "hubble" else name)
    return np.asarray(load(), dtype=np.uint8)


_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")


def find_file(path: str) -> Path:
    """Expand a leading `~/` and check that `path` names a readable local file with content.

    The folder of a Zarr array passes, too.

    Raises `ImageError` for a URL, a missing file, another folder or non-file, and a file that is
    empty or unreadable.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
        raise ImageError(f"{path!r} is a URL: only local files are read; download it first")
    # a name such as "~draft.png" is no home folder
    file = Path(path).expanduser() if path.startswith("~/") else Path(path)
    try:
        _check(path, file)
    except OSError as error:
        raise ImageError(
            f"{path!r} cannot be read ({error.strerror}): check its name and permissions"
        ) from None
    return file


def is_zarr(folder: Path) -> bool:
    """Whether a path is the folder of a Zarr array or of a group of them."""
    return any((folder / name).is_file() for name in _ZARR_FILES)


def _check(path: str, file: Path) -> None:
    if not file.exists():
        raise ImageError(f"{path!r} does not exist: {_suggest(file)}")
    if is_zarr(file):
        return
    if file.is_dir():
        raise ImageError(
            f"{path!r} is a folder: give the path of one image file, or -m to fit every image in it"
        )
    if not file.is_file():
        raise ImageError(f"{path!r} is a device or pipe: give the path of an image file")
    with file.open("rb") as stream:
        if not stream.read(1):
            raise ImageError(f"{path!r} is empty (0 bytes): copy or export it again")


def _suggest(file: Path) -> str:
    """Name what the person may have meant."""
    if str(file) in SAMPLES:
        return f"did you mean '{SAMPLE_PREFIX}{file}'?"
    if not file.parent.is_dir():
        return f"neither does its folder, check {str(file.parent)!r}"
    names = {entry.name.lower(): entry.name for entry in file.parent.iterdir()}
    close = [names[match] for match in difflib.get_close_matches(file.name.lower(), names)]
    if not close:
        return f"check the path, or try '{SAMPLE_PREFIX}{SAMPLES[0]}'"
    return f"did you mean {' or '.join(map(repr, close))}?"


def open_file(file: Path, max_pixels: int) -> DecodedImage:
    """Read the header of an image file, or of a Zarr folder.

    Raises:
        ImageError: the content is no supported image or has more than `max_pixels` pixels.
        OSError: the file cannot be read.
    """
    if file.is_dir():
        return open_zarr(file, max_pixels)
    with file.open("rb") as stream:
        magic = stream.read(len(NPY_MAGIC))
    if magic == NPY_MAGIC:
        return open_npy(file, max_pixels)
    if magic.startswith(EXR_MAGIC):
        return open_exr(file, max_pixels)
    if magic.startswith(TIFF_MAGICS):
        return open_tiff(file, max_pixels)
    return open_vips_file(file, max_pixels)
