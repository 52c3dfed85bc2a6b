"""An array's file as a stream that libvips reads: rawload would map all of it into memory."""

from __future__ import annotations

import os
import struct
import sys
from typing import BinaryIO

from miner.scratch import NpyFile, n_bytes

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
