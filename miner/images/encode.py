"""Formats that can be written, and the encoding of arrays as image files."""

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, get_args

import numpy as np

from miner.images.arrays import is_channels_first
from miner.images.pixel_format import PixelFormat, PixelType
from miner.signals.scratch import ArrayLike, NpyFile, n_bytes
from miner.support.errors import ImageError

if TYPE_CHECKING:
    import pyvips


class _Kind(NamedTuple):
    dtypes: tuple[PixelType, ...]
    channels: tuple[int, ...] = ()  # none is any number
    side_px: int = 2**31 - 1
    options: Mapping[str, Any] = MappingProxyType({})  # of libvips


_BAND_VALUES = 2**22
_TILES = {"compression": "deflate", "tile": True, "tile_width": 256, "tile_height": 256}
_JPEG = _Kind(("uint8",), (1, 3), 65500, {"Q": 95})
_TIFF = _Kind(get_args(PixelType), options=_TILES)
_KINDS = {
    ".png": _Kind(("uint8", "uint16"), (1, 2, 3, 4)),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": _Kind(("uint8",), (1, 2, 3, 4), 16383, {"Q": 95}),  # grey becomes RGB
    ".avif": _Kind(("uint8",), (1, 2, 3, 4), 16384, {"Q": 90}),  # as above
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".exr": _Kind(("float32",)),
    ".npy": _Kind(get_args(PixelType)),
}


def check_writable_format(path: Path, format: PixelFormat, height_px: int, width_px: int) -> None:
    """Raise `ImageError` if a file with the suffix of `path` cannot hold such an image."""
    kind, name = _KINDS.get(path.suffix.lower()), path.suffix.lower().removeprefix(".")
    if kind is None:
        raise ImageError(f"{str(path)!r}: end the name with one of {', '.join(_KINDS)}")
    dtype, n_channels, problem = format.dtype, format.channels, None
    remedy = "a .tif" if dtype == "float32" or n_channels > 4 else "a .png or .tif"
    if dtype not in kind.dtypes:
        problem = f"holds {' or '.join(kind.dtypes)} values, the image has {dtype}"
    elif kind.channels and n_channels not in kind.channels:
        problem = f"holds {', '.join(map(str, kind.channels))} channels, the image has {n_channels}"
    elif max(height_px, width_px) > kind.side_px:
        remedy, size = "a .tif", f"{width_px} x {height_px}"
        problem = f"holds at most {kind.side_px} pixels a side, the image has {size}"
    elif name == "npy" and is_channels_first((height_px, width_px, n_channels)):
        remedy, rows = "a .tif", height_px
        problem = f"of {rows} rows and {n_channels} channels is read as one of {rows} channels"
    if problem:
        raise ImageError(f"{str(path)!r}: {name} {problem}; name {remedy}")


def save_array(path: Path, suffix: str, array: ArrayLike, interpretation: str) -> None:
    """Write (H, W, C) as `suffix` demands; raises `OSError` or `pyvips.Error` if it cannot."""
    suffix = suffix.lower()
    if suffix == ".exr":
        _save_exr(path, array)
    elif suffix != ".npy":
        _save_by_vips(path, suffix, array, interpretation)
    else:
        with path.open("wb") as stream:
            header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
            np.lib.format.write_array_header_1_0(stream, header)
            for rows in _bands(array):
                stream.write(array[rows,].tobytes())


def _bands(array: ArrayLike) -> list[slice]:
    """Slices of rows that are read at once."""
    height, width, channels = array.shape
    step = max(1, _BAND_VALUES // (width * channels))
    return [slice(row, min(row + step, height)) for row in range(0, height, step)]


def _save_exr(path: Path, array: ArrayLike) -> None:
    import Imath
    import OpenEXR

    height, width, channels = array.shape
    known = {1: "Y", 2: "YA", 3: "RGB", 4: "RGBA"}  # names that are read back in this order
    names = list(known.get(channels, "")) or [f"C{number:04d}" for number in range(channels)]
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


def _save_by_vips(path: Path, suffix: str, array: ArrayLike, interpretation: str) -> None:
    import pyvips

    options = dict(_KINDS[suffix].options)
    if _KINDS[suffix] is _TIFF:
        # of floats with a predictor, tifffile reads none without imagecodecs
        options["predictor"] = "none" if array.dtype == np.float32 else "horizontal"
        options["bigtiff"] = n_bytes(array.shape, array.dtype) >= 2**31  # plain TIFF ends at 4 GiB
    # a descriptor, as pyvips wants names in UTF-8; readable, as TIFF is read back
    with path.open("w+b") as stream, _as_vips(array) as image:
        target = pyvips.Target.new_to_descriptor(stream.fileno())
        image.copy(interpretation=interpretation).write_to_target(target, suffix, **options)


@contextmanager
def _as_vips(array: ArrayLike) -> Iterator["pyvips.Image"]:
    """An array as an image, which is streamed if the array is a file."""
    import pyvips

    if not isinstance(array, NpyFile):
        yield pyvips.Image.new_from_array(array)
        return
    with array.path.open("rb") as pixels:
        raw, source = RawTiff(array, pixels), pyvips.SourceCustom()
        source.on_read(raw.read)
        source.on_seek(raw.seek)
        try:
            yield pyvips.Image.new_from_source(source, "", access="sequential", fail_on="error")
        finally:
            if raw.error:
                raise raw.error


class RawTiff:
    """The bytes of an uncompressed BigTIFF of (H, W, C): a header, then the pixels as stored.

    libvips reads it piece by piece; it would map a plain file of pixels as a whole. As libvips
    drops what its callbacks raise, `error` keeps what interrupted a read, Ctrl-C included.
    """

    def __init__(self, array: NpyFile, pixels: BinaryIO) -> None:
        size = n_bytes(array.shape, array.dtype)
        self._descriptor = pixels.fileno()
        self._header = _tiff_header(array.shape, array.dtype)
        self._first = os.fstat(self._descriptor).st_size - size  # where the pixels begin
        self._end = len(self._header) + size
        self._position = 0
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end, or after an error."""
        if self.error:
            return b""
        try:
            offset = self._first + self._position - len(self._header)
            content = self._header[self._position :][:size]
            content = content or os.pread(self._descriptor, size, offset)
        except BaseException as error:
            self.error = error
            return b""
        self._position += len(content)
        return content

    def seek(self, offset: int, whence: int) -> int:
        """Move to a position, as files do, and return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}
        self._position = start[whence] + offset
        return self._position


def _tiff_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """A header for (H, W, C) values that follow it as one strip: that of one pixel, enlarged."""
    import tifffile

    height, width, channels = shape
    buffer, pixel = io.BytesIO(), np.zeros((1, 1, channels), dtype)
    kind: Any = {"photometric": "minisblack", "planarconfig": "contig" if channels > 1 else None}
    tifffile.imwrite(buffer, pixel, bigtiff=True, metadata=None, **kind)
    buffer.seek(0)
    with tifffile.TiffFile(buffer, mode="r+") as tiff:
        page: Any = tiff.pages.first
        page.tags["ImageWidth"].overwrite(width)
        page.tags["ImageLength"].overwrite(height)
        page.tags["RowsPerStrip"].overwrite(height)
        page.tags["StripByteCounts"].overwrite(n_bytes(shape, dtype))
        return buffer.getvalue()[: page.dataoffsets[0]]
