"""Images in NumPy, Zarr and OpenEXR files."""

import math
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.pixel_format import OpenedFile, Read, decoding, new_array, pixel_type
from miner.signals.regions import Region, sides_of
from miner.signals.scratch import Index, Scratch, open_npy
from miner.support.errors import ImageError

NPY_MAGIC, EXR_MAGIC = b"\x93NUMPY", b"\x76\x2f\x31\x01"
_MAX_PLANES = 4  # so many along the first axis are channels, if the last axis is longer
_MAX_CHUNK_BYTES = 2**28  # a chunk is decoded whole
_DEEP, _MULTIPART = 0x800, 0x1000  # flags of the version field of OpenEXR
_BAND_ROWS, _BAND_VALUES = 256, 2**24  # no compression of OpenEXR joins more rows
_ORDER = "RGBYAXZUVW"  # as in RGBA, YA, XYZ


def is_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape is (C, H, W): C is at most 4 and W is larger than 4."""
    return len(shape) == 3 and shape[0] <= _MAX_PLANES < shape[2]


def _read(array: Any, dtype: str, box: Region, index: Index) -> NDArray[Any]:
    """Part of a box of a file's array, as (h, w, C) of a pixel type."""
    rows, columns = (
        slice(first + part.start, first + part.stop)
        for (first, _), part in zip(box, index, strict=True)
    )
    with decoding():
        if is_channels_first(array.shape):
            values: NDArray[Any] = np.moveaxis(array[slice(None), rows, columns], 0, -1)
        else:
            values = np.atleast_3d(array[rows, columns])
    if values.dtype.kind == "b":
        return np.where(values, np.uint8(255), np.uint8(0))
    with np.errstate(over="ignore"):  # infinities are refused later, as in other files
        return values.astype(dtype, copy=False)


def open_array(name: str, array: Any) -> OpenedFile:
    """Open an array of real numbers (H, W), (H, W, C) or (C, H, W); see `is_channels_first`."""
    shape, dtype = tuple(array.shape), pixel_type(array.dtype)
    if len(shape) not in (2, 3):
        known = "(height, width), (height, width, channels) or (channels, height, width)"
        raise ImageError(f"has axes of {shape}: an image has {known}; save one such part of it")
    if dtype is None:
        raise ImageError(f"holds values of type {array.dtype}: save real numbers, say float32")
    sides, n_channels = shape[:2], (*shape, 1)[2]
    if is_channels_first(shape):
        sides, n_channels = shape[1:], shape[0]
    is_wide = dtype == "float32" and array.dtype != "float32"
    remarks = (f"holds {array.dtype} values: read as float32",) if is_wide else ()

    def load(box: Region, scratch: Scratch) -> Read:
        return partial(_read, array, dtype, box)

    return OpenedFile(name, sides, n_channels, dtype, load, remarks=remarks)


def open_npy_image(file: Path) -> OpenedFile:
    """Map a `.npy` file; nothing is copied, and nothing ever unpickled."""
    with decoding("save the array again by numpy.save, as plain numbers"):
        array = open_npy(file)
    return open_array(file.stem, array)


def is_zarr(folder: Path) -> bool:
    """Whether a path is the folder of a Zarr array or of a group of them."""
    return any((folder / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def open_zarr(folder: Path) -> OpenedFile:
    """Open a Zarr array, version 2 or 3; refuses large chunks and encodings that are not safe."""
    import zarr

    with decoding():
        array = zarr.open(str(folder), mode="r")
    if isinstance(array, zarr.Group):
        raise ImageError("is a group of Zarr arrays: name one of the folders in it")
    metadata = array.metadata.to_dict()
    if "pickle" in str([metadata.get(key) for key in ("compressor", "filters", "codecs")]):
        raise ImageError("is encoded by pickle, which may run any program: write plain numbers")
    chunk_bytes = math.prod(array.chunks) * array.dtype.itemsize
    if chunk_bytes > _MAX_CHUNK_BYTES:
        limit = f"at most {_MAX_CHUNK_BYTES} can be decoded at once; write it in smaller chunks"
        raise ImageError(f"has chunks of {array.chunks} values, {chunk_bytes} bytes each: {limit}")
    return open_array(folder.stem, array)


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
        (left, top), (right, bottom) = np.array(header["dataWindow"]).tolist()
        names = sorted((channel.name for channel in header["channels"]), key=_rank)
        samplings = {(channel.xSampling, channel.ySampling) for channel in header["channels"]}
    if samplings - {(1, 1)}:
        raise ImageError("has channels of different sizes: export it again as full RGB")
    sides = (bottom - top + 1, right - left + 1)
    load = partial(_load_exr, file, names, top, sides[1])
    remarks = ("has several parts: only the first is read",) if flags & _MULTIPART else ()
    return OpenedFile(file.stem, sides, len(names), "float32", load, remarks=remarks)


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
