"""OpenEXR files, read a band of scanlines at a time."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.canvas import new_array
from miner.images.checks import check_size
from miner.images.pixel_format import DecodedImage
from miner.signals.regions import Region, sides_of
from miner.signals.scratch import ArrayLike, Scratch
from miner.support.errors import ImageError

EXR_MAGIC = b"\x76\x2f\x31\x01"


_DEEP, _MULTIPART = 0x800, 0x1000  # flags of the version field


_BAND_ROWS = 256  # no compression joins more


_BAND_VALUES = 2**24


_ORDER = "RGBYAXZUVW"  # as in RGBA, YA, XYZ


def open_exr(file: Path, max_pixels: int) -> DecodedImage:
    """Read the header of a file's first part.

    All channels of the part are read: R, G, B, A or Y first, then the others, layer by layer and
    by their names. Half and integer values become float32. Pixels of the data window are the image.

    Raises:
        ImageError: it is damaged, deep, has channels of different sizes or more than `max_pixels`
            pixels.
    """
    flags = _flags(file)
    if flags & _DEEP:
        raise ImageError(
            f"{str(file)!r} holds deep samples, not pixels: flatten it and export it again"
        )
    header = _header(file)
    if not header.is_even:
        raise ImageError(
            f"{str(file)!r} has channels of different sizes: export it again as full RGB"
        )
    names, (height, width) = header.names, header.sides
    check_size(str(file), width, height, max_pixels, len(names))
    return DecodedImage(
        file,
        (height, width),
        len(names),
        "float32",
        partial(_load, file, names, header.top, width),
        remarks=("has several parts: only the first is read",) if flags & _MULTIPART else (),
    )


def _flags(file: Path) -> int:
    with file.open("rb") as stream:
        return int.from_bytes(stream.read(8)[4:], "little")


@dataclass(frozen=True)
class _Header:
    names: list[str]
    is_even: bool  # no channel has fewer pixels than the image
    top: int  # number of the first row
    sides: tuple[int, int]


def _header(file: Path) -> _Header:
    import OpenEXR

    try:
        # not InputFile.header, which an attribute's name in no encoding makes crash; the path of a
        # descriptor, as File reads all of a stream and wants names in UTF-8
        with file.open("rb") as stream:
            path = f"/dev/fd/{stream.fileno()}"
            with OpenEXR.File(path, header_only=True) as opened:
                return _understood(opened.header())
    except Exception as error:  # the bindings raise whatever a damaged file provokes
        raise _undecodable(file, error) from None


def _understood(header: Any) -> _Header:
    channels, ((left, top), (right, bottom)) = header["channels"], header["dataWindow"]
    return _Header(
        sorted((channel.name for channel in channels), key=_rank),
        all(channel.xSampling == channel.ySampling == 1 for channel in channels),
        int(top),
        (int(bottom) - int(top) + 1, int(right) - int(left) + 1),
    )


def _rank(name: str) -> tuple[str, int, str]:
    layer, _, last = name.rpartition(".")
    return layer, _ORDER.find(last) if last and last in _ORDER else len(_ORDER), last


def _load(
    file: Path, names: list[str], first_row: int, width: int, box: Region, scratch: Scratch
) -> ArrayLike:
    """Decode a part of the image.

    Raises:
        ImageError: the file is damaged or cut short, or there is no room for its pixels.
    """
    import OpenEXR

    array = new_array(scratch, "image", (*sides_of(box), len(names)), np.float32)
    (top, bottom), (left, right) = box
    step = max(1, min(_BAND_ROWS, _BAND_VALUES // (width * len(names))))
    try:
        with file.open("rb") as stream, closing(OpenEXR.InputFile(stream)) as opened:
            for row in range(top, bottom, step):
                n_rows = min(step, bottom - row)
                band = _read_band(opened, names, first_row + row, n_rows, width)
                array[row - top : row - top + n_rows, :] = band[:, left:right]
    except Exception as error:  # as above
        raise _undecodable(file, error) from None
    return array


def _read_band(
    opened: Any, names: list[str], row: int, n_rows: int, width: int
) -> NDArray[np.float32]:
    import Imath

    kind = Imath.PixelType(Imath.PixelType.FLOAT)
    planes = opened.channels(names, kind, row, row + n_rows - 1)
    return np.stack(
        [np.frombuffer(plane, np.float32).reshape(n_rows, width) for plane in planes], axis=-1
    )


def _undecodable(file: Path, error: Exception) -> ImageError:
    reason = " ".join(re.sub(r"'/dev/fd/\d+'|.<Python Stream>.", "it", str(error)).split())
    return ImageError(
        f"{str(file)!r} cannot be decoded ({reason}): it is damaged, cut short or of an unusual "
        "kind; export it again"
    )
