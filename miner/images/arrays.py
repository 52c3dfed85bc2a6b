"""NumPy and Zarr arrays as images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from miner.images.checks import check_size
from miner.images.pixel_format import DecodedImage, PixelType
from miner.signals.regions import Region, sides_of, tiles
from miner.signals.scratch import ArrayLike, NpyFile, Scratch
from miner.support.errors import ImageError

if TYPE_CHECKING:
    import zarr

_KNOWN = {
    *("adler32", "blosc", "bz2", "crc32", "crc32c", "fletcher32", "gzip", "jenkins_lookup3"),
    *("lz4", "lzma", "zlib", "zstd", "bytes", "endian", "transpose", "sharding_indexed"),
    *("delta", "shuffle", "bitround", "fixedscaleoffset", "quantize", "packbits", "astype"),
}


def unknown_codecs(metadata: Mapping[str, Any]) -> list[str]:
    """Names of the codecs in an array's metadata, version 2 or 3, that are not read."""
    named = {name.removeprefix("numcodecs.") for name in _names(metadata)}
    return sorted(named - _KNOWN)


def _names(metadata: Mapping[str, Any]) -> Iterator[str]:
    for codec in (metadata.get("compressor"), *(metadata.get("filters") or ())):
        if codec is not None:
            yield str(codec["id"])
    for key in ("codecs", "index_codecs"):
        for codec in metadata.get(key) or ():
            yield str(codec["name"])
            yield from _names(codec.get("configuration") or {})


Layout = Literal["HW", "HWC", "CHW"]

_MAX_PLANES = 4  # that many along the first axis are channels, where more are along the last


def layout_of(shape: tuple[int, ...]) -> Layout | None:
    """How an array of this shape is laid out, None where it is no image.

    Three axes are (H, W, C), or (C, H, W) when the first is at most 4 and the last is larger.
    """
    if len(shape) == 2:
        return "HW"
    if len(shape) == 3:
        return "CHW" if shape[0] <= _MAX_PLANES < shape[2] else "HWC"
    return None


def pixel_type(dtype: np.dtype[Any]) -> PixelType | None:
    """The type that values are read as, None where they are no real numbers."""
    if dtype.kind == "b" or dtype == np.uint8:
        return "uint8"
    if dtype.kind == "u" and dtype.itemsize == 2:
        return "uint16"
    return "float32" if dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize <= 8) else None


class ArrayView:
    """A box of an array, as (h, w, C) of a pixel type, converted when it is read."""

    def __init__(self, array: ArrayLike, layout: Layout, box: Region) -> None:
        """Take an array of a type that `pixel_type` knows, and a box of its rows and columns."""
        self._array, self._layout, self._box = array, layout, box
        n_channels = {"HW": 1, "HWC": array.shape[-1], "CHW": array.shape[0]}[layout]
        self.shape = (*sides_of(box), n_channels)
        self.dtype = np.dtype(pixel_type(array.dtype))

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """The values in a slice of rows and one of columns, each with its first and its end."""
        rows, columns = (
            slice(first + part.start, first + part.stop)
            for part, (first, _) in zip(index, self._box, strict=True)
        )
        if self._layout == "CHW":
            values = np.moveaxis(self._array[slice(None), rows, columns], 0, -1)
        else:
            values = np.atleast_3d(self._array[rows, columns])
        if values.dtype.kind == "b":
            return np.where(values, np.uint8(255), np.uint8(0))
        with np.errstate(over="ignore"):  # an infinity is refused later, like those in other files
            converted: NDArray[Any] = values.astype(self.dtype, copy=False)
        return converted


NPY_MAGIC = b"\x93NUMPY"


_MAX_CHUNK_BYTES = 2**28  # a chunk is decoded whole


def open_array(file: Path, array: ArrayLike, max_pixels: int) -> DecodedImage:
    """Take an array of numbers (H, W), (H, W, C) or (C, H, W); see `layout_of`.

    Raises:
        ImageError: it has other axes, more than `max_pixels` pixels, or no real numbers.
    """
    layout, dtype = layout_of(array.shape), pixel_type(array.dtype)
    if layout is None:
        raise ImageError(
            f"{str(file)!r} has axes of {array.shape}: an image has (height, width), (height, "
            "width, channels) or (channels, height, width); save one such part of it"
        )
    if dtype is None:
        raise ImageError(
            f"{str(file)!r} holds values of type {array.dtype}: save real numbers, say float32"
        )
    height, width = array.shape[1:] if layout == "CHW" else array.shape[:2]
    n_channels = {"HW": 1, "HWC": array.shape[-1], "CHW": array.shape[0]}[layout]
    check_size(str(file), width, height, max_pixels, n_channels)

    def load(box: Region, scratch: Scratch) -> ArrayLike:
        return ArrayView(array, layout, box)

    is_wide = dtype == "float32" and array.dtype != "float32"
    remarks = (f"holds {array.dtype} values: read as float32",) if is_wide else ()
    return DecodedImage(file, (height, width), n_channels, dtype, load, remarks=remarks)


def open_npy(file: Path, max_pixels: int) -> DecodedImage:
    """Map a `.npy` file; nothing is copied, and nothing ever unpickled.

    Raises:
        ImageError: it is damaged, holds objects, or is refused by `open_array`.
    """
    try:
        array = NpyFile(file)
    except Exception as error:  # NumPy parses the header as Python: a damaged one raises anything
        reason = " ".join(str(error).split())
        raise ImageError(
            f"{str(file)!r} cannot be mapped ({reason}): save the array again by numpy.save, "
            "as plain numbers"
        ) from None
    return open_array(file, _Readable(file, array), max_pixels)


def open_zarr(folder: Path, max_pixels: int) -> DecodedImage:
    """Open a Zarr array, version 2 or 3.

    Raises:
        ImageError: it is a group, is damaged, has chunks too large to decode or in an encoding
            that is not safe, or is refused by `open_array`.
    """
    import zarr

    try:
        opened = zarr.open(str(folder), mode="r")
    except Exception as error:  # a damaged file of settings raises anything
        raise _undecodable(folder, error) from None
    if isinstance(opened, zarr.Group):
        raise ImageError(
            f"{str(folder)!r} is a group of Zarr arrays: name one of them{_members(folder)}"
        )
    _check_encoding(folder, opened)
    array = _Readable(folder, opened)
    picture = open_array(folder, array, max_pixels)

    def load(box: Region, scratch: Scratch) -> ArrayLike:
        view = picture.load(box, scratch)
        for (top, bottom), (left, right) in tiles(view.shape[:2]):  # a damaged chunk is found now
            view[top:bottom, left:right]
        return view

    return replace(picture, load=load)


def _members(folder: Path) -> str:
    markers = (".zarray", "zarr.json")
    names = sorted({entry.parent.name for name in markers for entry in folder.glob(f"*/{name}")})
    return f", such as {str(folder / names[0])!r}" if names else ""


def _check_encoding(folder: Path, array: zarr.Array[Any]) -> None:
    unknown = unknown_codecs(array.metadata.to_dict())
    if unknown:
        raise ImageError(
            f"{str(folder)!r} is encoded by {', '.join(map(repr, unknown))}: which is not among "
            "the codecs that only move and compress bytes; write it again with one of Zarr's own"
        )
    chunk_bytes = math.prod(array.chunks) * array.dtype.itemsize
    if chunk_bytes > _MAX_CHUNK_BYTES:
        raise ImageError(
            f"{str(folder)!r} has chunks of {array.chunks} values, {chunk_bytes} bytes each: at "
            f"most {_MAX_CHUNK_BYTES} can be decoded at once; write it in smaller chunks"
        )


class _Readable:
    """An array whose damage, or loss since it was opened, is said in a line."""

    def __init__(self, file: Path, array: ArrayLike) -> None:
        self._file, self._array = file, array
        self.shape, self.dtype = tuple(array.shape), array.dtype

    def __getitem__(self, index: tuple[slice, ...]) -> Any:
        try:
            return self._array[index]
        except Exception as error:  # each codec has its own
            raise _undecodable(self._file, error) from None


def _undecodable(file: Path, error: Exception) -> ImageError:
    reason = " ".join(f"{type(error).__name__} {error}".split())[:200]
    return ImageError(
        f"{str(file)!r} cannot be decoded ({reason}): it is damaged or of an unusual kind; "
        "write it again"
    )
