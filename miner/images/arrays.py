"""Images in NumPy, Zarr and OpenEXR files."""

import base64
import math
import struct
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.axes import find_axes, spatial
from miner.images.metadata import NO_METADATA, exr_metadata, pillow_metadata
from miner.images.nodata import mask_of_array
from miner.images.pixel_format import (
    OpenedFile,
    Orientation,
    Read,
    decoding,
    errors_about,
    new_array,
    pixel_type,
)
from miner.signals.mask import Mask
from miner.signals.regions import Region, sides_of, slices, whole
from miner.signals.scratch import Index, Scratch, open_npy
from miner.support.errors import ImageError

NPY_MAGIC, EXR_MAGIC = b"\x93NUMPY", b"\x76\x2f\x31\x01"
_PIL_MODES = ("1", "L", "LA", "RGB", "RGBA", "I", "F")  # others are converted to RGB
_MAX_CHUNK_BYTES = 2**28  # a chunk is decoded whole
_DEEP, _MULTIPART = 0x800, 0x1000  # flags of the version field of OpenEXR
_BAND_ROWS, _BAND_VALUES = 256, 2**24  # no compression of OpenEXR joins more rows
_ORDER = "RGBYAXZUVW"  # as in RGBA, YA, XYZ


def _read(array: Any, axes: str, dtype: str, box: Region, index: Index) -> NDArray[Any]:
    """Part of a box of a file's array, as `(*S, C)` of a pixel type; see `find_axes`."""
    parts: dict[str, Any] = {
        axis: slice(first + part.start, first + part.stop)
        for axis, (first, _), part in zip(spatial(axes), box, index, strict=True)
    } | {"_": 0}
    with decoding():
        values: NDArray[Any] = array[tuple(parts.get(axis, slice(None)) for axis in axes)]
    used = axes.replace("_", "")
    values = values.transpose([used.index(axis) for axis in spatial(axes) + "C" if axis in used])
    if "C" not in axes:
        values = values[..., None]
    if values.dtype.kind == "b":
        return np.where(values, np.uint8(255), np.uint8(0))
    with np.errstate(over="ignore"):  # infinities are refused later, as in other files
        return values.astype(dtype, copy=False)


def open_array(
    name: str, array: Any, axes: str | None = None, names: Sequence[object] = ()
) -> OpenedFile:
    """Open an array of real numbers; `axes` and `names` are those of `find_axes`."""
    shape, dtype = tuple(array.shape), pixel_type(array.dtype)
    if dtype is None:
        is_complex = array.dtype.kind == "c"
        remedy = "np.abs of it, or two channels" if is_complex else "real numbers, say float32"
        raise ImageError(f"holds values of type {array.dtype}: give {remedy}")
    axes = find_axes(shape, axes, names)
    lengths = dict(zip(axes, shape, strict=True))
    sides = tuple(lengths[axis] for axis in spatial(axes))
    is_wide = dtype == "float32" and array.dtype != "float32"
    remarks = (f"holds {array.dtype} values: read as float32",) if is_wide else ()
    stored: Any = array.dtype.name if is_wide and array.dtype.kind in "iu" else None

    def load(box: Region, scratch: Scratch) -> Read:
        return partial(_read, array, axes, dtype, box)

    n_channels = lengths.get("C", 1)
    return OpenedFile(name, sides, n_channels, dtype, load, remarks=remarks, stored=stored)


def open_values(image: Any, axes: str | None = None) -> OpenedFile:
    """Open what a program holds: an array, a tensor on any device, or an image of PIL.

    A masked array of NumPy masks pixels; `ImageError` where it masks only some of their channels.
    """
    names, turn, metadata = "", Orientation(), NO_METADATA
    if isinstance(image, list | tuple) and any(map(np.ma.isMaskedArray, image)):
        image = np.ma.stack(image)
    if hasattr(image, "getbands"):  # of PIL, which need not be there
        turn = Orientation.of_exif(image.getexif().get(274, 1))
        if image.mode not in _PIL_MODES and not image.mode.startswith("I;16"):
            has_alpha = "transparency" in image.info or image.mode in ("PA", "RGBa")
            image = image.convert("LA" if image.mode == "La" else "RGBA" if has_alpha else "RGB")
        names = "YX" if len(image.getbands()) == 1 else "YXC"
        metadata = pillow_metadata(image.info, "".join(image.getbands()))
    with errors_about("the array"):
        opened = open_array("array", to_numpy(image), axes, names)
        mask = _mask_of(np.ma.getmaskarray(image), axes) if np.ma.isMaskedArray(image) else None
    sides = turn.upright_sides(opened.sides) if names else opened.sides
    opened = replace(opened, sides=sides, orientation=turn, remarks=(), metadata=metadata)
    return replace(opened, mask=mask)


def to_numpy(array: Any) -> NDArray[Any]:
    """An array of NumPy of a tensor of torch on any device, a list of them, or another array."""
    if isinstance(array, list | tuple) and any(hasattr(one, "detach") for one in array):
        return np.stack([to_numpy(one) for one in array])
    if hasattr(array, "detach"):  # NumPy has no bfloat16, and no conjugate views
        try:
            array = array.detach().cpu().resolve_conj().resolve_neg()
            array = (array.float() if array.is_floating_point() else array).numpy()
        except (TypeError, RuntimeError) as error:  # sparse, quantised, without values
            kind = f"{array.dtype} of layout {array.layout} on {array.device}"
            raise ImageError(f"is a tensor of {kind}: give a dense one with numbers") from error
    return np.asarray(array)


def _mask_of(missing: NDArray[np.bool_], axes: str | None) -> Mask:
    opened = open_array("array", missing, axes)
    box = whole(opened.sides)
    values = opened.load(box, Scratch(None))(slices(box)) > 0
    masked = np.asarray(values.all(-1))
    if n_some := int((values.any(-1) ^ masked).sum()):
        raise ImageError(f"masks some channels of {n_some} pixels: mask all of a pixel, or none")
    return mask_of_array(~masked, opened.sides)


def open_npy_image(file: Path, axes: str | None = None) -> OpenedFile:
    """Map a `.npy` file; nothing is copied, and nothing ever unpickled."""
    with decoding("save the array again by numpy.save, as plain numbers"):
        array = open_npy(file)
    return open_array(file.stem, array, axes)


def is_zarr(folder: Path) -> bool:
    """Whether a path is the folder of a Zarr array or of a group of them."""
    return any((folder / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def open_zarr(folder: Path, axes: str | None = None) -> OpenedFile:
    """Open a Zarr array, version 2 or 3; refuses large chunks and encodings that are not safe.

    Of a group with the levels of an image, as OME-Zarr has them, the largest is opened. The names
    of its axes are those of version 3, of xarray, or of the group.
    """
    import zarr

    names, levels = _first_image(folder)
    with decoding():
        array: Any = zarr.open(str(folder), mode="r")
        found = [array.get(str(level)) for level in levels]
        lost = [n for n, one in zip(levels, found, strict=True) if not isinstance(one, zarr.Array)]
        if found and not lost:
            array = max(found, key=attrgetter("size"))
    if isinstance(array, zarr.Group):
        says = f", and {lost[0]!r} of its multiscales' datasets is none" if lost else ""
        example = folder / min(array, default="0")
        raise ImageError(f"is a group of Zarr arrays{says}: name one of them, as {example}")
    metadata = array.metadata.to_dict()
    if "pickle" in str([metadata.get(key) for key in ("compressor", "filters", "codecs")]):
        raise ImageError("is encoded by pickle, which may run any program: write plain numbers")
    chunk_bytes = math.prod(array.chunks) * array.dtype.itemsize
    if chunk_bytes > _MAX_CHUNK_BYTES:
        limit = f"at most {_MAX_CHUNK_BYTES} can be decoded at once; write it in smaller chunks"
        raise ImageError(f"has chunks of {array.chunks} values, {chunk_bytes} bytes each: {limit}")
    own: Any = metadata.get("dimension_names") or array.attrs.get("_ARRAY_DIMENSIONS")
    opened = open_array(folder.stem, array, axes, own or names or _first_image(folder.parent)[0])
    value = array.attrs.get("_FillValue", array.attrs.get("missing_value"))
    if isinstance(value, str) and array.dtype.kind == "f":  # as xarray writes those of floats
        with suppress(ValueError, struct.error):
            (value,) = struct.unpack("<d", base64.b64decode(value))
    nodata = str(value) if isinstance(value, int | float) else ""
    return replace(opened, metadata=replace(opened.metadata, nodata=nodata))


def _first_image(folder: Path) -> tuple[list[object], list[str]]:
    """The names of the axes, and the arrays, of an image of OME-Zarr; empty for another folder."""
    import zarr

    try:
        attributes: Any = zarr.open_group(str(folder), mode="r").attrs.asdict()
        image = attributes.get("ome", attributes)["multiscales"][0]
        axes = image.get("axes", "tczyx")  # which old versions do not name
        names = [axis["name"] if isinstance(axis, Mapping) else axis for axis in axes]
        return names, [level["path"] for level in image.get("datasets", [])]
    except Exception:  # no group, or one of another kind
        return [], []


def open_exr(file: Path) -> OpenedFile:
    """Read the header of a file's first part: all channels of the data window, as float32.

    R, G, B, A or Y come first, then the others, layer by layer and by their names.
    """
    import OpenEXR

    with file.open("rb") as stream:
        flags = int.from_bytes(stream.read(8)[4:], "little")
    if flags & _DEEP:
        raise ImageError("holds deep samples, not pixels: flatten it and export it again")
    # not InputFile.header, which crashes on attribute names in no encoding; the path of a
    # descriptor, as File reads all of a stream and wants names in UTF-8
    with (
        decoding(),
        file.open("rb") as stream,
        OpenEXR.File(f"/dev/fd/{stream.fileno()}", header_only=True) as opened,
    ):
        header = opened.header()
        names = sorted((channel.name for channel in header["channels"]), key=_rank)
        samplings = {(channel.xSampling, channel.ySampling) for channel in header["channels"]}
        stream.seek(0)
        with closing(OpenEXR.InputFile(stream)) as legacy:  # knows the types of channels
            types = legacy.header()["channels"]
        metadata = exr_metadata(header, {name: str(types[name].type) for name in names})
        left, top, right, bottom = np.ravel(header["dataWindow"]).tolist()
    if samplings - {(1, 1)}:
        raise ImageError("has channels of different sizes: export it again as full RGB")
    sides = (bottom - top + 1, right - left + 1)
    load = partial(_load_exr, file, names, top, sides[1])
    remarks = ("has several parts: only the first is read",) if flags & _MULTIPART else ()
    turn, n_channels = Orientation(), len(names)
    return OpenedFile(file.stem, sides, n_channels, "float32", load, turn, remarks, metadata)


def _rank(name: str) -> tuple[str, int, str]:
    layer, _, last = name.rpartition(".")
    return layer, _ORDER.find(last) if last and last in _ORDER else len(_ORDER), last


def _load_exr(
    file: Path, names: list[str], first_row: int, width: int, box: Region, scratch: Scratch
) -> Read:
    import Imath
    import OpenEXR

    array = new_array(scratch, "image", (*sides_of(box), len(names)), np.float32)
    kind = Imath.PixelType(Imath.PixelType.FLOAT)
    (top, bottom), (left, right) = box
    step = max(1, min(_BAND_ROWS, _BAND_VALUES // (width * len(names))))
    with decoding(), file.open("rb") as stream, closing(OpenEXR.InputFile(stream)) as opened:
        for row in range(top, bottom, step):
            end = min(row + step, bottom)
            planes = opened.channels(names, kind, first_row + row, first_row + end - 1)
            band = [np.frombuffer(plane, np.float32).reshape(-1, width) for plane in planes]
            array[row - top : end - top, :] = np.stack(band, axis=-1)[:, left:right]
    return array.__getitem__
