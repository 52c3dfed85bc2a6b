"""Images that are filled tile by tile and written whole, and the formats that can be written."""

import base64
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from miner.images.metadata import set_png_resolution
from miner.images.nodata import with_nodata
from miner.images.pixel_format import PixelFormat, PixelType, errors_about, mebibytes, new_array
from miner.signals.mask import Valid
from miner.signals.regions import Region, slices, tiles
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


_LOG = logging.getLogger("miner")
_BAND_VALUES = 2**22
_LARGE = 2**24  # values
_TILE = 256  # pixels a side
_KINDS = {
    ".png": _Kind(("uint8", "uint16"), (1, 2, 3, 4)),
    **dict.fromkeys((".jpg", ".jpeg"), _Kind(("uint8",), (1, 3), 65500, {"Q": 95})),
    ".webp": _Kind(("uint8",), (1, 2, 3, 4), 16383, {"Q": 95}),  # grey becomes RGB
    ".avif": _Kind(("uint8",), (1, 2, 3, 4), 16384, {"Q": 90}),  # as above
    **dict.fromkeys((".tif", ".tiff", ".npy"), _Kind(get_args(PixelType))),
    ".exr": _Kind(("float32",)),
}


def check_writable_format(path: Path, format: PixelFormat, height_px: int, width_px: int) -> None:
    """Raise `ImageError` if a file with the suffix of `path` cannot hold such an image."""
    kind, name = _KINDS.get(path.suffix.lower()), path.suffix.lower().removeprefix(".")
    if kind is None:
        raise ImageError(f"{str(path)!r}: end the name with one of {', '.join(_KINDS)}")
    dtype, n_channels, problem = format.dtype, format.channels, None
    remedy = "a .tif" if format.suffix == ".tif" else "a .png or .tif"
    if dtype not in kind.dtypes:
        problem = f"holds {' or '.join(kind.dtypes)} values, the image has {format.written}"
    elif kind.channels and n_channels not in kind.channels:
        problem = f"holds {', '.join(map(str, kind.channels))} channels, the image has {n_channels}"
    elif kind.channels and n_channels in (2, 4) and format.alpha != 2:
        problem = f"calls the last of {n_channels} channels alpha, and the image does not"
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
            self._array = new_array(scratch, "rendered", shape, format.written, create)

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
                _save_array(scratch_path, path.suffix.lower(), self._array, self._format)
        except (OSError, pyvips.Error) as error:
            reason = " ".join(str(error).split())
            is_full = isinstance(error, OSError) and is_disk_full(error)
            is_full |= "No space left" in reason  # as libvips says
            kind = NoSpaceError if is_full else ImageError
            size = mebibytes(n_bytes(self._array.shape, self._array.dtype))
            remedy = f"check its folder and the free space, of which it may take {size}"
            raise kind(f"{str(path)!r} cannot be written ({reason}): {remedy}") from error
        if lost := self._format.metadata.lost_in(path.suffix.lower()):
            _LOG.warning("%s cannot hold what the source says: its %s", path, lost)
        return path


def _save_array(path: Path, suffix: str, array: WritableArray, format: PixelFormat) -> None:
    if suffix == ".exr":
        _save_exr(path, array, format)
    elif suffix in (".tif", ".tiff"):
        _save_tiff(path, array, format)
    elif suffix != ".npy":
        _save_by_vips(path, suffix, array, format)
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


def _save_exr(path: Path, array: WritableArray, format: PixelFormat) -> None:
    import Imath
    import OpenEXR

    (height, width, channels), metadata = array.shape, format.metadata
    header = OpenEXR.Header(width, height)
    is_rgb = channels - len(format.extra) == 3
    names = [*("RGB" if is_rgb else "Y"), *("A" if format.alpha else "")]
    names += [f"C{n:04d}" for n in range(len(names), channels)]  # are read back in this order
    halves: Sequence[bool] = [False] * channels
    if (exr := metadata.exr) and len(exr.names) == channels:
        names, halves = list(exr.names), exr.halves
        for name, (x, y, *last) in {"display": exr.display, "data": exr.data}.items():
            header[f"{name}Window"] = Imath.Box2i(Imath.V2i(x, y), Imath.V2i(*last))
    if dpi := metadata.resolution:
        header |= {"xDensity": dpi[0], "pixelAspectRatio": dpi[1] / dpi[0]}
    kinds = [Imath.PixelType(Imath.PixelType.HALF if n else Imath.PixelType.FLOAT) for n in halves]
    header["channels"] = dict(zip(names, map(Imath.Channel, kinds), strict=True))
    # the path of a descriptor, as OpenEXR wants names in UTF-8
    with (
        path.open("w+b") as stream,
        closing(OpenEXR.OutputFile(f"/dev/fd/{stream.fileno()}", header)) as opened,
    ):
        for rows in _bands(array):
            band = np.moveaxis(np.array(array[rows,], np.float32), -1, 0)
            if format.alpha == 2:  # associated in OpenEXR
                band[:-1] *= band[-1]
            typed = (
                plane.astype("f2" if n else "f4") for n, plane in zip(halves, band, strict=True)
            )
            values = dict(zip(names, map(np.ndarray.tobytes, typed), strict=True))
            opened.writePixels(values, rows.stop - rows.start)


def _save_tiff(path: Path, array: WritableArray, format: PixelFormat) -> None:
    """Tile by tile, by tifffile: libvips writes no tags of GeoTIFF."""
    import tifffile

    metadata, extra, (*sides, channels) = format.metadata, format.extra, array.shape
    is_big = n_bytes(array.shape, array.dtype) >= 2**31  # plain TIFF ends at 4 GiB
    with path.open("w+b") as stream, tifffile.TiffWriter(stream, bigtiff=is_big) as writer:
        writer.write(
            (array[slices(box)] for box in tiles(sides, _TILE)),
            shape=array.shape if channels > 1 else sides,
            dtype=array.dtype,
            tile=(_TILE, _TILE),
            photometric="rgb" if channels - len(extra) == 3 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=extra or None,
            compression="zlib",
            compressionargs={"level": 4},  # others take longer and save nearly nothing
            predictor=array.dtype != np.float32,  # else tifffile needs imagecodecs to read it
            resolution=metadata.resolution,
            iccprofile=base64.b64decode(metadata.icc) or None,
            extratags=metadata.tiff_tags(),
            metadata=None,
            software=False,
            buffersize=_BAND_VALUES,
        )


def _save_by_vips(path: Path, suffix: str, array: WritableArray, format: PixelFormat) -> None:
    import pyvips

    resolution, icc = format.metadata.resolution, format.metadata.icc
    # with the resolution comes EXIF; without it, PNG has a wrong one
    options = {**_KINDS[suffix].options, "keep": "all" if resolution else "icc"}
    if suffix == ".png" and math.prod(array.shape) >= _LARGE:  # a fifth larger
        options |= {"compression": 1, "filter": "sub"}  # in a third of the time
    x, y = resolution or (1, 1)
    image = _as_vips(array).copy(xres=x / 25.4, yres=y / 25.4)
    if icc and (format.channels > 2 or suffix not in (".webp", ".avif")):  # where grey is RGB
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", base64.b64decode(icc))
    # a descriptor, as pyvips wants names in UTF-8; readable, as TIFF is read back
    with path.open("w+b") as stream:
        target = pyvips.Target.new_to_descriptor(stream.fileno())
        image.write_to_target(target, suffix, **options)
        if suffix == ".png":
            set_png_resolution(stream, resolution)


def _as_vips(array: WritableArray) -> "pyvips.Image":
    """An array as an image; one in a file that `_create_tiff` has made is read piece by piece."""
    import pyvips

    if not isinstance(array, ArrayFile):
        return pyvips.Image.new_from_array(array, interpretation="auto")
    with array.path.open("rb") as stream:
        source = pyvips.Source.new_from_descriptor(stream.fileno())
        return pyvips.Image.new_from_source(source, "", access="sequential", fail_on="error")


def _create_tiff(stem: Path, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
    """Map a new uncompressed TIFF of (H, W, C); libvips would map plain pixels as a whole."""
    import tifffile

    path = stem.with_name(f"{stem.name}.tif")
    colours = "rgb" if shape[2] in (3, 4) else "minisblack"
    kind: Any = {"photometric": colours, "bigtiff": True, "metadata": None}
    if shape[2] == 1:
        return tifffile.memmap(path, shape=shape[:2], dtype=dtype, **kind)[:, :, None]
    return tifffile.memmap(path, shape=shape, dtype=dtype, planarconfig="contig", **kind)
