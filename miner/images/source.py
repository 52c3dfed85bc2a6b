"""Image files and samples: found, hashed, and opened as sources of regions."""

import hashlib
import logging
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images import arrays
from miner.images.axes import check_rows_first
from miner.images.nodata import mask_of_array, mask_of_image
from miner.images.pixel_format import OpenedFile, Orientation, PixelFormat, errors_about
from miner.images.source_image import SourceImage, loaded, masked
from miner.images.tiff import TIFF_MAGICS, open_tiff
from miner.images.value_range import find_range
from miner.images.vips import open_vips_file
from miner.signals.mask import Mask
from miner.signals.regions import Region, sides_of, whole
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError
from miner.support.files import expand_home

SAMPLES = (
    *("astronaut", "hubble", "retina", "coffee", "chelsea"),
    *("rocket", "camera", "brick", "moon"),
)
SAMPLE_PREFIX = "sample:"
_IN_MEMORY = Scratch(None)
_EXACT = 2**24  # float32 holds all whole numbers up to it
_MAX_CHANNELS = 1024  # a header that claims more is damaged, or a trap

logger = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def load_sample(name: str) -> NDArray[np.uint8]:
    """Load one of `SAMPLES`: (H, W) for camera, brick and moon, else (H, W, 3), in 0..255."""
    if name not in SAMPLES:
        raise ImageError(f"sample {name!r} does not exist: use one of {', '.join(SAMPLES)}")
    import skimage  # whose own reader takes 0.3 s to import

    for file in Path(skimage.__file__).with_name("data").glob(f"{name}*.[jp][pn]g"):
        opened = open_vips_file(file)
        values = opened.load(whole(opened.sides), _IN_MEMORY)((slice(None), slice(None)))
        return values[..., 0] if opened.n_channels == 1 else values
    load: Any = getattr(skimage.data, "hubble_deep_field" if name == "hubble" else name)
    return np.asarray(load(), dtype=np.uint8)


def find_file(path: str) -> Path:
    """Expand a leading `~/`; raises `ImageError` unless `path` is a readable file or Zarr array."""
    file = Path(expand_home(path))
    with errors_about(repr(path)):
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
            raise ImageError("is a URL: only local files are read; download it first")
        if not file.exists():
            names = [one.name for one in file.parent.iterdir()] if file.parent.is_dir() else []
            near = get_close_matches(file.name, [*names, *map(SAMPLE_PREFIX.__add__, SAMPLES)], 1)
            hint = f"did you mean {near[0]!r}?" if near else "check the path, or try 'sample:moon'"
            raise ImageError(f"does not exist: {hint}")
        if arrays.is_zarr(file):
            return file
        if file.is_dir():
            remedy = "give the path of one image file; a sweep, -m, fits every image in it"
            raise ImageError(f"is a folder: {remedy}")
        if not file.is_file():
            raise ImageError("is a device or pipe: give the path of an image file")
    return file


def open_file(path: str, axes: str | None = None) -> OpenedFile:
    """Read the header of a file, Zarr folder, or `sample:NAME`; `ImageError` if it is no image."""
    if path.startswith(SAMPLE_PREFIX):
        name = path.removeprefix(SAMPLE_PREFIX)
        with errors_about(repr(path)):
            check_rows_first(axes)
        return arrays.open_array(name, np.atleast_3d(load_sample(name)), "HWC")
    file = find_file(path)
    with errors_about(repr(path)):
        if file.is_dir():
            return arrays.open_zarr(file, axes)
        with file.open("rb") as stream:
            magic = stream.read(len(arrays.NPY_MAGIC))
        if magic == arrays.NPY_MAGIC:
            return arrays.open_npy_image(file, axes)
        if magic.startswith(TIFF_MAGICS):
            return open_tiff(file, axes)
        check_rows_first(axes)
        if magic.startswith(arrays.EXR_MAGIC):
            return arrays.open_exr(file)
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


def inspect_image(
    path: str,
    max_pixels: int,
    crop_px: int | None = None,
    axes: str | None = None,
    mask: str | None = None,
) -> OpenedFile:
    """What `open_image` gives, with its sides, and refuses, without decoding pixels."""
    opened, box, _ = _open(path, max_pixels, crop_px, axes)
    if mask is not None:
        _open_mask(mask, opened)
    return replace(opened, sides=sides_of(box))


def open_image(
    image: str | OpenedFile,
    max_pixels: int = sys.maxsize,
    crop_px: int | None = None,
    scratch: Scratch = _IN_MEMORY,
    axes: str | None = None,
    value_range: str | Sequence[float] = "auto",
    like: PixelFormat | None = None,
    nodata: str | float = "auto",
    mask: Any = None,
    max_mse: float = 0.0,
) -> SourceImage:
    """Open a file (`~` is expanded), a Zarr array's folder, `sample:NAME`, or an opened array.

    The content determines the format: PNG, JPEG, TIFF, WebP, AVIF, HEIC, GIF, EXR, `.npy`, Zarr.
    Values are kept as stored, and alpha is one more channel. Palettes and
    1-bit values are expanded to 8 bits; signed, 32- and 64-bit integers, float16 and float64 are
    read as float32; CMYK and Lab are converted to sRGB; colours are divided by associated alpha. Of
    several pages or parts the first is read, upright. With `crop_px` only the middle of the image
    is read, at most that many pixels a side. `axes` are those of an array or of a TIFF of several
    pages; see `find_axes`. A range of values is mapped to [0, 1]; see `find_range`. That of `like`
    is, if the file has its type and channels, else that of the file's type. `max_mse` is the fit's.

    Pixels whose channels all are NaN, or have the no-data value that the file names, or `nodata`
    unless it is none or auto, are masked, and those where `mask` is 0: the name of an image or an
    array of all sides, or a `Mask` of what is read. They are filled from around; see `fill`.

    With a scratch folder, memory does not grow with the image (but interlaced PNG, progressive
    JPEG, WebP, AVIF, HEIC and GIF are decoded whole).

    Raises `ImageError` if the path names no readable local file, the content is damaged, unknown,
    of more than `max_pixels` pixels or not finite, or there is no space for its pixels.
    """
    opened, box, path = _open(image, max_pixels, crop_px, axes)
    for remark in opened.remarks:
        logger.warning("%r %s", path, remark)
    kind = opened.dtype, opened.n_channels
    is_alike = like is not None and kind == (like.dtype, like.channels)
    value_range = value_range if is_alike or like is None else "dtype"
    given = _given_mask(mask, opened, box, scratch)  # before the image has the name of its scratch
    with errors_about(repr(path)):
        digest = image_digest(path) if isinstance(image, str) else ""
        source = masked(loaded(opened, box, path, digest, scratch), nodata, given, scratch)
        own, has_alpha = opened.stored or opened.dtype, any(opened.metadata.extra[-1:])
        found = find_range(own, value_range, source.parts, has_alpha, max_mse)
    metadata, turn = source.format.metadata, opened.orientation
    if source.mask and opened.stored and abs(float(metadata.nodata)) > _EXACT:
        near = f"{metadata.nodata} is masked, with data that float32 does not tell from it"
        logger.warning("%r holds %s: %s", path, opened.stored, near)
    metadata = metadata if turn == Orientation() else metadata.turned(turn.swaps)
    if metadata.geo != opened.metadata.geo:
        logger.warning("%r is turned upright, and its GeoTIFF tags are left out", path)
    format = PixelFormat.of_values(*kind, found)
    format = replace(format, stored=opened.stored, is_clipped=not isinstance(value_range, str))
    format = replace(like if like and is_alike else format, metadata=metadata.at(box, source.sides))
    return replace(source, format=format)


def _given_mask(mask: Any, opened: OpenedFile, box: Region, scratch: Scratch) -> Mask | None:
    """The mask of a part of an image that the user, or what is opened, gives."""
    own = opened.mask and opened.mask.cropped(box)
    if isinstance(mask, str):
        file = _open_mask(mask, opened)
        with errors_about(repr(mask)):
            read = loaded(file, box, mask, "", scratch).read_stored
            mask = mask_of_image(read, sides_of(box), file.n_channels)
    elif mask is not None and not isinstance(mask, Mask):
        mask = mask_of_array(arrays.to_numpy(mask), opened.sides).cropped(box)
    return own & mask if own and mask else own or mask


def _open_mask(mask: str, image: OpenedFile) -> OpenedFile:
    opened = open_file(mask)
    if opened.n_channels not in (1, 3):
        found = f"{mask!r} has {opened.n_channels} channels, as with alpha"
        raise ImageError(f"{found}: save a mask as grey, 0 where pixels are masked")
    if opened.sides != image.sides:
        own, wanted = (" x ".join(map(str, reversed(one.sides))) for one in (opened, image))
        sizes = f"{own} pixels, and the image {image.name!r} {wanted}"
        raise ImageError(f"{mask!r} has {sizes}: a mask has its size")
    return opened


def _open(
    image: str | OpenedFile, max_pixels: int, crop_px: int | None, axes: str | None
) -> tuple[OpenedFile, Region, str]:
    """Open a file, refuse what is too large; gives the upright region to be read, and a name."""
    opened = open_file(image, axes) if isinstance(image, str) else image
    path = image if isinstance(image, str) else image.name
    n_pixels, n_channels = math.prod(opened.sides), opened.n_channels
    sides = " x ".join(map(str, reversed(opened.sides)))
    if min(*opened.sides, n_channels) < 1:
        problem = f"{sides} pixels of {n_channels} channels: it is empty; export it again"
    elif n_pixels > max_pixels:
        remedy = f"raise image.max_pixels to {n_pixels} or more"
        problem = f"{sides} = {n_pixels} pixels, more than image.max_pixels={max_pixels}: {remedy}"
    elif n_channels > _MAX_CHANNELS:
        problem = f"{n_channels} channels, more than {_MAX_CHANNELS}: keep those that matter"
    else:
        most = crop_px or max(opened.sides)
        firsts = [max(0, side - most) // 2 for side in opened.sides]
        box = tuple((n, n + min(side, most)) for n, side in zip(firsts, opened.sides, strict=True))
        return opened, box, path
    raise ImageError(f"{path!r} has {problem}")
