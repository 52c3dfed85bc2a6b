"""OpenEXR files, read a band of scanlines at a time."""

from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from miner.images.pixel_format import OpenedFile, decoding, new_array
from miner.signals.regions import Region, sides_of
from miner.signals.scratch import ArrayLike, Scratch
from miner.support.errors import ImageError

EXR_MAGIC = b"\x76\x2f\x31\x01"
_DEEP, _MULTIPART = 0x800, 0x1000  # flags of the version field
_BAND_ROWS, _BAND_VALUES = 256, 2**24  # no compression joins more rows
_ORDER = "RGBYAXZUVW"  # as in RGBA, YA, XYZ


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
    load = partial(_load, file, names, top, sides[1])
    remarks = ("has several parts: only the first is read",) if flags & _MULTIPART else ()
    return OpenedFile(file.stem, sides, len(names), "float32", load, remarks=remarks)


def _rank(name: str) -> tuple[str, int, str]:
    layer, _, last = name.rpartition(".")
    return layer, _ORDER.find(last) if last and last in _ORDER else len(_ORDER), last


def _load(
    file: Path, names: list[str], first_row: int, width: int, box: Region, scratch: Scratch
) -> ArrayLike:
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
    return array
