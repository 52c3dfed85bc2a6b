"""Formats that can be written, and the encoding of arrays as image files."""

from __future__ import annotations

import os
import struct
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from miner.images.arrays import layout_of
from miner.images.pixel_format import PixelFormat, PixelType
from miner.signals.scratch import ArrayLike, NpyFile, n_bytes
from miner.support.errors import ImageError

if TYPE_CHECKING:
    import pyvips

_BYTES: tuple[PixelType, ...] = ("uint8",)


_INTEGERS: tuple[PixelType, ...] = ("uint8", "uint16")


_ANY: tuple[PixelType, ...] = ("uint8", "uint16", "float32")


_NO_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class _Limits:
    dtypes: tuple[PixelType, ...]
    channels: tuple[int, ...] | None  # None is any number
    side_px: int = _NO_LIMIT


_LIMITS = {
    ".png": _Limits(_INTEGERS, (1, 2, 3, 4)),
    ".jpg": _Limits(_BYTES, (1, 3), 65500),
    ".jpeg": _Limits(_BYTES, (1, 3), 65500),
    ".webp": _Limits(_BYTES, (1, 2, 3, 4), 16383),  # grey becomes RGB
    ".avif": _Limits(_BYTES, (1, 2, 3, 4), 16384),  # as above
    ".tif": _Limits(_ANY, None),
    ".tiff": _Limits(_ANY, None),
    ".exr": _Limits(("float32",), None),
    ".npy": _Limits(_ANY, None),
}


def check_writable_format(path: Path, format: PixelFormat, height_px: int, width_px: int) -> None:
    """Check, before anything is rendered, that a file with the suffix of `path` can hold an image.

    Raises:
        ImageError: the suffix is unknown, or its kind of file cannot hold the type of the values,
            the channels or the size.
    """
    limits = _LIMITS.get(path.suffix.lower())
    if limits is None:
        raise ImageError(f"{str(path)!r}: end the name with one of {', '.join(_LIMITS)}")
    kind = path.suffix.lower().removeprefix(".")
    if format.dtype not in limits.dtypes:
        raise ImageError(
            f"{str(path)!r}: {kind} holds {' or '.join(limits.dtypes)} values, the image has "
            f"{format.dtype}; name a {_remedy(format)}"
        )
    if limits.channels is not None and format.channels not in limits.channels:
        raise ImageError(
            f"{str(path)!r}: {kind} holds {', '.join(map(str, limits.channels))} channels, the "
            f"image has {format.channels}; name a {_remedy(format)}"
        )
    if max(height_px, width_px) > limits.side_px:
        raise ImageError(
            f"{str(path)!r}: {kind} holds at most {limits.side_px} pixels a side, the image has "
            f"{width_px} x {height_px}; name a .tif"
        )
    if kind == "npy" and layout_of((height_px, width_px, format.channels)) == "CHW":
        raise ImageError(
            f"{str(path)!r}: an array of {height_px} rows and {format.channels} channels is read "
            f"as one of {height_px} channels; name a .tif"
        )


def _remedy(format: PixelFormat) -> str:
    return ".tif" if format.dtype == "float32" or format.channels > 4 else ".png or .tif"


_ORDER, _MARK = ("<", b"II") if sys.byteorder == "little" else (">", b"MM")


_SHORT, _LONG, _LONG8 = 3, 4, 16  # BigTIFF's types


_CODES = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}


_SAMPLE_FORMATS = {"u": 1, "f": 3}


class RawTiff:
    """The bytes of an uncompressed BigTIFF of (H, W, C): a header, then the pixels as they lie.

    `error` is what kept a read from its end, Ctrl-C included: libvips calls, and passes over what
    is raised.
    """

    def __init__(self, array: NpyFile, pixels: BinaryIO) -> None:
        """Take an array and its opened file."""
        self._size = n_bytes(array.shape, array.dtype)
        self._header = _header(array, self._size)
        self._pixels, self._first = pixels, os.fstat(pixels.fileno()).st_size - self._size
        self._position = 0
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end, or after an error."""
        try:
            return b"" if self.error else self._read(size)
        except BaseException as error:
            self.error = error
            return b""

    def _read(self, size: int) -> bytes:
        beyond = self._position - len(self._header)
        if beyond < 0:
            content = self._header[self._position :][:size]
        else:
            self._pixels.seek(self._first + beyond)
            content = self._pixels.read(size)
        self._position += len(content)
        return content

    def seek(self, offset: int, whence: int) -> int:
        """Go to a place, as files do; gives it."""
        start = {
            os.SEEK_SET: 0,
            os.SEEK_CUR: self._position,
            os.SEEK_END: len(self._header) + self._size,
        }
        self._position = start[whence] + offset
        return self._position


def _header(array: NpyFile, size: int) -> bytes:
    height, width, channels = array.shape
    sample_format = _SAMPLE_FORMATS[array.dtype.kind]
    tags = [
        (256, _LONG, [width]),
        (257, _LONG, [height]),
        (258, _SHORT, [8 * array.dtype.itemsize] * channels),
        (259, _SHORT, [1]),  # not compressed
        (262, _SHORT, [1]),  # black is zero
        (273, _LONG8, [0]),  # where the one strip begins, known once the header is
        (277, _SHORT, [channels]),
        (278, _LONG, [height]),
        (279, _LONG8, [size]),
        (338, _SHORT, [0] * (channels - 1)),  # more samples, of no meaning
        (339, _SHORT, [sample_format] * channels),
    ]
    tags = [tag for tag in tags if tag[2]]
    length = len(_packed(tags, 0))
    return _packed(tags, length)


def _packed(tags: list[tuple[int, int, list[int]]], pixels_at: int) -> bytes:
    entries, values_at, values = b"", 16 + 8 + 20 * len(tags) + 8, b""
    for tag, kind, numbers in tags:
        content = [pixels_at] if tag == 273 else numbers
        packed = struct.pack(f"{_ORDER}{len(content)}{_CODES[kind]}", *content)
        place = packed.ljust(8, b"\0")
        if len(packed) > 8:
            place = struct.pack(f"{_ORDER}Q", values_at + len(values))
            values += packed.ljust(-(-len(packed) // 8) * 8, b"\0")
        entries += struct.pack(f"{_ORDER}HHQ", tag, kind, len(content)) + place
    start = struct.pack(f"{_ORDER}2sHHHQQ", _MARK, 43, 8, 0, 16, len(tags))
    return start + entries + bytes(8) + values


_BAND_VALUES = 2**22


_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {},
    ".jpg": {"Q": 95},
    ".webp": {"Q": 95},
    ".avif": {"Q": 90},
}


_SAME_KIND = {".jpeg": ".jpg", ".tiff": ".tif"}


def save_array(path: Path, suffix: str, array: ArrayLike, interpretation: str) -> None:
    """Write (H, W, C) to `path`, whatever its name, as the kind of file that `suffix` names.

    Raises:
        OSError: the file cannot be written.
        pyvips.Error: likewise.
    """
    suffix = _SAME_KIND.get(suffix, suffix)
    if suffix == ".npy":
        _save_npy(path, array)
    elif suffix == ".exr":
        _save_exr(path, array)
    else:
        _save_by_vips(path, suffix, array, interpretation)


def _bands(array: ArrayLike) -> list[slice]:
    """Slices of rows that are read at once."""
    height, width, channels = array.shape
    step = max(1, _BAND_VALUES // (width * channels))
    return [slice(row, min(row + step, height)) for row in range(0, height, step)]


def _save_npy(path: Path, array: ArrayLike) -> None:
    with path.open("wb") as stream:
        header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for rows in _bands(array):
            stream.write(array[rows,].tobytes())


def _save_exr(path: Path, array: ArrayLike) -> None:
    import Imath
    import OpenEXR

    height, width, channels = array.shape
    names = _channel_names(channels)
    header = OpenEXR.Header(width, height)
    kind = Imath.Channel(Imath.PixelType(Imath.PixelType.FLOAT))
    header["channels"] = dict.fromkeys(names, kind)
    # the path of a descriptor, as OpenEXR wants names in UTF-8
    with (
        path.open("w+b") as stream,
        closing(OpenEXR.OutputFile(f"/dev/fd/{stream.fileno()}", header)) as opened,
    ):
        for rows in _bands(array):
            planes = np.moveaxis(array[rows,], -1, 0)
            values = {name: plane.tobytes() for name, plane in zip(names, planes, strict=True)}
            opened.writePixels(values, rows.stop - rows.start)


def _channel_names(channels: int) -> list[str]:
    """Names that are read back in this order."""
    known = {1: "Y", 2: "YA", 3: "RGB", 4: "RGBA"}
    return list(known.get(channels, "")) or [f"C{number:04d}" for number in range(channels)]


def _save_by_vips(path: Path, suffix: str, array: ArrayLike, interpretation: str) -> None:
    import pyvips

    options = _OPTIONS[suffix] if suffix != ".tif" else _tiff_options(array)
    # a descriptor, as pyvips wants names in UTF-8; readable, as TIFF is read back
    with path.open("w+b") as stream:
        target = pyvips.Target.new_to_descriptor(stream.fileno())
        if not isinstance(array, NpyFile):
            image = pyvips.Image.new_from_array(array)
            image.copy(interpretation=interpretation).write_to_target(target, suffix, **options)
            return
        with array.path.open("rb") as pixels:
            raw = RawTiff(array, pixels)
            try:
                image = _streamed(raw).copy(interpretation=interpretation)
                image.write_to_target(target, suffix, **options)
            finally:
                if raw.error:
                    raise raw.error


def _streamed(raw: RawTiff) -> pyvips.Image:
    import pyvips

    source = pyvips.SourceCustom()
    source.on_read(raw.read)
    source.on_seek(raw.seek)
    return pyvips.Image.new_from_source(source, "", access="sequential", fail_on="error")


def _tiff_options(array: ArrayLike) -> dict[str, Any]:
    return {
        "compression": "deflate",
        # of floats, tifffile reads none without imagecodecs
        "predictor": "none" if array.dtype == np.float32 else "horizontal",
        "tile": True,
        "tile_width": 256,
        "tile_height": 256,
        "bigtiff": n_bytes(array.shape, array.dtype) >= 2**31,  # plain TIFF ends at 4 GiB
    }
