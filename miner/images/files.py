"""Finding, opening and hashing image files and samples."""

import difflib
import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images import arrays
from miner.images.pixel_format import OpenedFile, errors_about
from miner.images.vips import TIFF_MAGICS, open_tiff, open_vips_file
from miner.support.errors import ImageError
from miner.support.files import expand_home

SAMPLES = (
    *("astronaut", "hubble", "retina", "coffee", "chelsea"),
    *("rocket", "camera", "brick", "moon"),
)
SAMPLE_PREFIX = "sample:"


def load_sample(name: str) -> NDArray[np.uint8]:
    """Load one of `SAMPLES`: (H, W) for camera, brick and moon, else (H, W, 3), in 0..255."""
    if name not in SAMPLES:
        raise ImageError(f"sample {name!r} does not exist: use one of {', '.join(SAMPLES)}")
    from skimage import data

    load: Any = getattr(data, "hubble_deep_field" if name == "hubble" else name)
    return np.asarray(load(), dtype=np.uint8)


def find_file(path: str) -> Path:
    """Expand a leading `~/`; raises `ImageError` unless `path` is a readable file or Zarr array."""
    file = Path(expand_home(path))
    with errors_about(repr(path)):
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
            raise ImageError("is a URL: only local files are read; download it first")
        if not file.exists():
            raise ImageError(f"does not exist: {_suggest(file)}")
        if arrays.is_zarr(file):
            return file
        if file.is_dir():
            remedy = "give the path of one image file; a sweep, -m, fits every image in it"
            raise ImageError(f"is a folder: {remedy}")
        if not file.is_file():
            raise ImageError("is a device or pipe: give the path of an image file")
        with file.open("rb") as stream:
            if not stream.read(1):
                raise ImageError("is empty (0 bytes): copy or export it again")
    return file


def _suggest(file: Path) -> str:
    if str(file) in SAMPLES:
        return f"did you mean '{SAMPLE_PREFIX}{file}'?"
    if not file.parent.is_dir():
        return f"neither does its folder, check {str(file.parent)!r}"
    names = {entry.name.lower(): entry.name for entry in file.parent.iterdir()}
    close = [names[match] for match in difflib.get_close_matches(file.name.lower(), names)]
    if not close:
        return f"check the path, or try '{SAMPLE_PREFIX}{SAMPLES[0]}'"
    return f"did you mean {' or '.join(map(repr, close))}?"


def open_file(path: str) -> OpenedFile:
    """Read the header of a file, Zarr folder, or `sample:NAME`; `ImageError` if it is no image."""
    if path.startswith(SAMPLE_PREFIX):
        name = path.removeprefix(SAMPLE_PREFIX)
        return arrays.open_array(name, np.atleast_3d(load_sample(name)))
    file = find_file(path)
    with errors_about(repr(path)):
        if file.is_dir():
            return arrays.open_zarr(file)
        with file.open("rb") as stream:
            magic = stream.read(len(arrays.NPY_MAGIC))
        if magic == arrays.NPY_MAGIC:
            return arrays.open_npy_image(file)
        if magic.startswith(arrays.EXR_MAGIC):
            return arrays.open_exr(file)
        if magic.startswith(TIFF_MAGICS):
            return open_tiff(file)
        return open_vips_file(file)


def image_digest(path: str) -> str:
    """SHA-256 of a file's bytes as `file_digest` gives it, or of the pixels of `sample:NAME`."""
    if not path.startswith(SAMPLE_PREFIX):
        return file_digest(find_file(path))
    pixels = np.atleast_3d(load_sample(path.removeprefix(SAMPLE_PREFIX)))
    return hashlib.sha256(pixels.transpose(2, 0, 1).tobytes()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal; of a folder, that of its files' sorted names and digests.

    Raises `OSError` if a file cannot be read.
    """
    path = path.absolute()
    if not path.is_dir():
        stat = path.stat()
        return _cached_digest(path, stat.st_mtime_ns, stat.st_size)
    digest = hashlib.sha256()
    for file in sorted(filter(Path.is_file, path.rglob("*"))):
        name = file.relative_to(path).as_posix().encode(errors="surrogateescape")
        digest.update(name + b"\0" + file_digest(file).encode() + b"\n")
    return digest.hexdigest()


@lru_cache(maxsize=1024)
def _cached_digest(file: Path, modified_ns: int, n_bytes: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
