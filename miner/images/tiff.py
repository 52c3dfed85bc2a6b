"""TIFF files: pixels of pages, decoded by tifffile in parts and in threads."""

import itertools
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.arrays import open_array
from miner.images.axes import check_rows_first, find_axes, spatial
from miner.images.metadata import tiff_metadata
from miner.images.photometric import Conversion, find_conversion
from miner.images.pixel_format import OpenedFile, Orientation, Read, decoding, new_array
from miner.images.tiff_pages import Found, find_pages
from miner.signals.regions import Region, sides_of, slices, tiles
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION, _NOT_COMPRESSED, _PACKBITS, _LERC = 274, 1, 32773, 34887
_PREDICTED = (5, 8, 32946, 34925, 34926, 50000, 50013)  # LZW, deflate, LZMA, ZSTD
_OTHERWISE = (33003, 65000, 65001, 65002)  # JPEG 2000 in YCbCr; codes of several cameras
_MAX_SEGMENT_BYTES = 2**28  # a strip or tile is decoded whole
_PART_VALUES = 2**22  # that a thread reads at once, unless segments are larger
_PARTS_BYTES, _MOST_THREADS = 2**28, 16
_REMEDY = "save it as an uncompressed TIFF of 8, 16 or 32 bits a sample"

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # our errors report what matters


def open_tiff(file: Path, axes: str | None = None) -> OpenedFile:
    """Read the header of a file's picture, or of the pages that `axes` or the file itself joins.

    Raises `ImageError` for what is damaged, cut short, or of a kind that is not read.
    """
    import tifffile

    with decoding(), tifffile.TiffFile(file) as tiff:
        found = find_pages(tiff, axes)
        key = found.key
        conversion = find_conversion(key)
        _refuse_codec(key)
        remarks = [*found.remarks, *conversion.remarks, *_check_segments(found)]
        turn = Orientation.of_exif(int(key.tags.valueof(_ORIENTATION, 1)))
        metadata = tiff_metadata(key)
    if not found.lead:
        check_rows_first(axes)
        axes = None
    elif turn != Orientation():
        remarks.append("has several pages, which are not turned upright")
        turn = Orientation()
    stack = _Stack(found, conversion)
    names = (*found.names, *"YXS"[: 2 + (conversion.n_channels > 1)])
    opened = open_array(file.stem, stack, axes, names)
    return replace(
        opened,
        sides=turn.upright_sides(opened.sides),
        load=partial(_load, stack, opened, find_axes(stack.shape, axes, names)),
        orientation=turn,
        remarks=(*opened.remarks, *remarks),
        metadata=metadata,
    )


def _load(stack: "_Stack", opened: OpenedFile, axes: str, box: Region, scratch: Scratch) -> Read:
    """Decode a box of pixels, in parts that begin where segments do."""
    sides = sides_of(box)
    array = new_array(scratch, "image", (*sides, opened.n_channels), opened.dtype)
    lengths = dict(zip(axes, stack.part_sides(opened.n_channels), strict=False))
    steps = [lengths[axis] for axis in spatial(axes)]
    before = [first % step for (first, _), step in zip(box, steps, strict=True)]
    read = opened.load(box, scratch)

    def copy(part: Region) -> None:
        pairs = zip(part, before, strict=True)
        inside = slices(tuple((max(0, first - n), end - n) for (first, end), n in pairs))
        array[inside] = read(inside)

    n_threads = _PARTS_BYTES // (math.prod(steps) * opened.n_channels * 8)
    try:
        with ThreadPoolExecutor(max(1, min(_MOST_THREADS, n_threads))) as pool:
            parts = tiles([n + side for n, side in zip(before, sides, strict=True)], steps)
            list(pool.map(copy, parts))
    finally:
        stack.close()
    return array.__getitem__


class _Stack:
    """Pages as an array (*L, H, W, C), or (*L, H, W) of one channel, decoded where indexed."""

    def __init__(self, found: Found, conversion: Conversion) -> None:
        self._key, self._pages, self._lead = found.key, found.pages, found.lead
        self._convert, n_channels = conversion.convert, conversion.n_channels
        self._sides = (found.key.imagelength, found.key.imagewidth)
        self._is_mapped = found.key.is_final and all(map(_is_contiguous, filter(None, found.pages)))
        self._segment = (1, self._sides[1]) if self._is_mapped else _segment(found.key)
        self._lock = Lock()
        self.dtype = conversion.dtype
        self.shape = (*found.lead, *self._sides, *([n_channels] if n_channels > 1 else []))

    def part_sides(self, n_channels: int) -> tuple[int, ...]:
        """Lengths of what is best read at once, along the pages, rows and columns."""
        rows, columns = self._segment
        many = max(1, _PART_VALUES // (n_channels * rows * columns))
        n_columns = min(many, -(-self._sides[1] // columns))
        return (*[1] * len(self._lead), rows * (many // n_columns), columns * n_columns)

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        n = len(self._lead)
        ranges = [one.indices(side) for one, side in zip(index[n:], self._sides, strict=False)]
        box = tuple((first, end) for first, end, _ in ranges)
        numbers = np.arange(len(self._pages)).reshape(self._lead)[index[:n]]
        pages = [self._convert(self._samples(self._pages[n], box)) for n in np.ravel(numbers)]
        values = np.stack(pages) if len(pages) > 1 else pages[0]
        values = values.reshape(*np.shape(numbers), *pages[0].shape)
        return values if len(self.shape) > n + 2 else values[..., 0]

    def _samples(self, page: Any, box: Region) -> NDArray[Any]:
        """The samples (H, W, S) of a box of a page, with zeros or no-data for what is left out."""
        key, (rows, columns), n_planes = self._key, self._segment, self._key.shaped[0]
        (top, bottom), (left, right) = box
        if page is not None and self._is_mapped:
            name, offset = page.parent.filehandle.path, page.dataoffsets[0]
            dtype = key.dtype.newbyteorder(key.parent.byteorder)
            mapped = np.memmap(name, dtype, "r", offset, key.shaped)[:, 0, top:bottom, left:right]
            return (mapped[0] if n_planes == 1 else np.moveaxis(mapped[..., 0], 0, -1)).astype(
                key.dtype
            )
        fill = 0 if key.dtype.kind == "b" else key.nodata
        samples = np.full((bottom - top, right - left, key.samplesperpixel), fill, key.dtype)
        down, across = (-(-n // step) for n, step in zip(self._sides, self._segment, strict=True))
        for plane, row, column in itertools.product(
            range(n_planes if page is not None else 0),
            range(top // rows, -(-bottom // rows)),
            range(left // columns, -(-right // columns)),
        ):
            decoded = self._decode(page, (plane * down + row) * across + column)
            if decoded is not None:
                y, x = row * rows - top, column * columns - left
                place = samples[max(y, 0) : y + rows, max(x, 0) : x + columns]
                place = place[..., plane : plane + 1] if n_planes > 1 else place
                place[:] = decoded[max(-y, 0) :, max(-x, 0) :][: len(place), : place.shape[1]]
        return samples

    def _decode(self, page: Any, n: int) -> NDArray[Any] | None:
        """A strip or tile, or None if it is left out."""
        if not page.databytecounts[n]:
            return None
        file = page.parent.filehandle
        with self._lock:
            file.open()
            file.seek(page.dataoffsets[n])
            data = file.read(page.databytecounts[n])
        if int(self._key.compression) == _LERC:
            decoded = _decode_lerc(data, self._key.shaped[-1])
        else:
            tables = {"jpegtables": page.jpegtables, "jpegheader": self._key.jpegheader}
            decoded = self._key.decode(data, n, **tables)[0][0]
        if self._key.dtype.kind == "b":  # of fax, uint8
            decoded = decoded != 0
        if decoded.dtype != self._key.dtype:
            problem = f"holds {decoded.dtype} values, and says {self._key.dtype}"
            raise ImageError(f"{problem}: {_REMEDY}")
        return decoded

    def close(self) -> None:
        """Close the files that reading opened."""
        for page in filter(None, self._pages):
            page.parent.filehandle.close()


def _decode_lerc(data: bytes, n_samples: int) -> NDArray[Any]:
    """With NaN where a mask leaves floats out, and channels last, which tifffile ignores."""
    import imagecodecs

    values, valid = imagecodecs.lerc_decode(data, masks=True)
    if values.ndim == 3 and values.shape[-1] != n_samples:
        values, valid = (one if one is None else np.moveaxis(one, 0, -1) for one in (values, valid))
    values = values.reshape(*values.shape[:2], n_samples)
    if valid is None or valid.all():
        return values
    if values.dtype.kind != "f":
        raise ImageError(f"is compressed by LERC with a mask for {values.dtype}: {_REMEDY}")
    return np.where(valid.reshape(*values.shape[:2], -1), values, values.dtype.type(np.nan))


def _segment(key: Any) -> tuple[int, int]:
    """Rows and columns of a strip or tile."""
    if key.is_tiled:
        return key.tilelength, key.tilewidth
    return key.rowsperstrip, key.imagewidth


def _is_contiguous(page: Any) -> bool:
    starts, sizes = page.dataoffsets, page.databytecounts
    return all(a + n == b for a, n, b in zip(starts, sizes, starts[1:], strict=False))


def _refuse_codec(key: Any) -> None:
    """Refuse, by its name, what cannot be decoded or what readers decode otherwise."""
    import tifffile

    code, name = int(key.compression), getattr(key.compression, "name", key.compression)
    decode = tifffile.TIFF.DECOMPRESSORS.get(code)
    is_odd = code == _LERC and key.parent.byteorder == ">" and key.bitspersample > 8
    if is_odd or code in _OTHERWISE or decode is None or decode.__name__ == "stub_decode":
        raise ImageError(f"is compressed by {name}, which is not read: {_REMEDY}")
    predictor, bits = int(key.predictor), int(key.bitspersample)
    is_odd = predictor not in (2, 3) or bits not in (8, 16, 32, 64)
    is_odd |= predictor == 3 and key.dtype.kind != "f"
    if predictor != 1 and (code in (_NOT_COMPRESSED, _PACKBITS) or (code in _PREDICTED and is_odd)):
        what = f"{key.dtype} of {bits} bits compressed by {name}"
        raise ImageError(
            f"has predictor {predictor} for {what}, which readers differ about: {_REMEDY}"
        )
    if key.imagedepth > 1:
        raise ImageError(f"has {key.imagedepth} slices in a page: save a page for each")


def _check_segments(found: Found) -> list[str]:
    """Refuse large, missing and cut strips and tiles; gives a remark about those left out."""
    key, (rows, columns) = found.key, _segment(found.key)
    size = rows * -(-columns * key.shaped[-1] * int(key.bitspersample) // 8)
    if size > _MAX_SEGMENT_BYTES and not (key.is_final and _is_contiguous(key)):
        raise ImageError(f"has strips or tiles of {size} bytes each: save it in smaller tiles")
    n = key.shaped[0] * -(-key.imagelength // rows) * -(-key.imagewidth // columns)
    most = size if int(key.compression) == _NOT_COMPRESSED else math.inf  # more is harmless
    n_missing = 0
    for page in found.pages:
        segments = list(zip(page.dataoffsets, page.databytecounts, strict=False)) if page else []
        if page and len(segments) < n:
            raise ImageError(f"has {len(segments)} of its {n} strips or tiles: export it again")
        n_missing += sum(not count for _, count in segments) if page else n
        end = max((offset + min(count, most) for offset, count in segments if count), default=0)
        if page and end > (n_bytes := page.parent.filehandle.size):
            sizes = f"it has {n_bytes} bytes and its pixels end at byte {end}"
            raise ImageError(f"is cut short: {sizes}; copy or export it again")
    of = "tiles" if key.is_tiled else "strips"
    return [f"lacks {n_missing} of its {of}: they are read as zeros"] if n_missing else []
