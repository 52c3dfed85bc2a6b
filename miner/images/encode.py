"""Images that are filled tile by tile and written whole, and the formats that can be written."""

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from miner.images.nodata import with_nodata
from miner.images.pixel_format import PixelFormat, PixelType, errors_about, mebibytes, new_array
from miner.signals.mask import Valid
from miner.signals.regions import Region, slices
from miner.signals.scratch import ArrayFile, Scratch, WritableArray, create_npy, n_bytes
from miner.support.errors import ImageError, NoSpaceError
from miner.support.files import atomic_write, is_disk_full

if TYPE_CHECKING:
    import pyvips


class _Kind(NamedTuple):
    dtypes: tuple[PixelType, ...]
    channels: tuple[int, ...] = ()  # none is any number
    side_px: int = 2**31 - 1
    options: Mapping[str, Any] = MappingProxyType({})  # of libvips


_BAND_VALUES = 2**22
_LARGE = 2**24  # values
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
    if problem:
        raise ImageError(f"{str(path)!r}: {name} {problem}; name {remedy}")


class PixelCanvas:
    """The pixels of an image to be written, in the bit depth and channels of its format."""

    def __init__(self, format: PixelFormat, sides: Sequence[int], scratch: Scratch) -> None:
        # raises ImageError if there is no space for the pixels
        self._format, shape = format, (*sides, format.channels)
        create = _create_tiff if len(sides) == 2 else create_npy
        with errors_about("the image to be written"):
            self._array = new_array(scratch, "rendered", shape, format.dtype, create)

    def fill(self, region: Region, unit: NDArray[np.float32], valid: Valid | None = None) -> None:
        """Set a region to (C, *S), clipped to [0, 1], in any order; `ImageError` for NaN.

        Pixels that are not `valid` `(*S)` get the no-data value; see `with_nodata`.
        """
        pixels = self._format.from_unit(np.moveaxis(unit, 0, -1))
        self._array[slices(region)] = with_nodata(pixels, self._format, valid)

    def save(self, path: Path) -> Path:
        """Write the image as its suffix demands, whole or not at all; makes the folder.

        .png, .jpg, .webp, .avif, .tif (tiled), .exr or .npy, which `check_writable_format` accepts.
        JPEG, WebP and AVIF lose detail, and the libraries of the last two hold the whole image in
        memory. Raises `ImageError` if the file cannot be written.
        """
        import pyvips

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as scratch_path:
                suffix, interpretation = path.suffix.lower(), self._format.interpretation
                _save_array(scratch_path, suffix, self._array, interpretation)
        except (OSError, pyvips.Error) as error:
            reason = " ".join(str(error).split())
            is_full = isinstance(error, OSError) and is_disk_full(error)
            is_full |= "No space left" in reason  # as libvips says
            kind = NoSpaceError if is_full else ImageError
            size = mebibytes(n_bytes(self._array.shape, self._array.dtype))
            remedy = f"check its folder and the free space, of which it may take {size}"
            raise kind(f"{str(path)!r} cannot be written ({reason}): {remedy}") from error
        return path


def _save_array(path: Path, suffix: str, array: WritableArray, interpretation: str) -> None:
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


def _bands(array: WritableArray) -> list[slice]:
    """Slices of rows that are read at once."""
    height, step = array.shape[0], max(1, _BAND_VALUES // math.prod(array.shape[1:]))
    return [slice(row, min(row + step, height)) for row in range(0, height, step)]


def _save_exr(path: Path, array: WritableArray) -> None:
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


def _save_by_vips(path: Path, suffix: str, array: WritableArray, interpretation: str) -> None:
    import pyvips

    options = dict(_KINDS[suffix].options)
    if _KINDS[suffix] is _TIFF:
        # of floats with a predictor, tifffile reads none without imagecodecs
        options["predictor"] = "none" if array.dtype == np.float32 else "horizontal"
        options["bigtiff"] = n_bytes(array.shape, array.dtype) >= 2**31  # plain TIFF ends at 4 GiB
    if suffix == ".png" and math.prod(array.shape) >= _LARGE:  # a fifth larger
        options |= {"compression": 1, "filter": "sub"}  # in a third of the time
    # a descriptor, as pyvips wants names in UTF-8; readable, as TIFF is read back
    image = _as_vips(array).copy(interpretation=interpretation)
    with path.open("w+b") as stream:
        target = pyvips.Target.new_to_descriptor(stream.fileno())
        image.write_to_target(target, suffix, **options)


def _as_vips(array: WritableArray) -> "pyvips.Image":
    """An array as an image; one in a file that `_create_tiff` has made is read piece by piece."""
    import pyvips

    if not isinstance(array, ArrayFile):
        return pyvips.Image.new_from_array(array)
    with array.path.open("rb") as stream:
        source = pyvips.Source.new_from_descriptor(stream.fileno())
        return pyvips.Image.new_from_source(source, "", access="sequential", fail_on="error")


def _create_tiff(stem: Path, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
    """Map a new uncompressed TIFF of (H, W, C); libvips would map plain pixels as a whole."""
    import tifffile

    path = stem.with_name(f"{stem.name}.tif")
    kind: Any = {"photometric": "minisblack", "bigtiff": True, "metadata": None}
    if shape[2] == 1:
        return tifffile.memmap(path, shape=shape[:2], dtype=dtype, **kind)[:, :, None]
    return tifffile.memmap(path, shape=shape, dtype=dtype, planarconfig="contig", **kind)
