"""TIFF files: pixels of pages, decoded by tifffile in parts and in threads."""

import itertools
import logging
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.arrays import open_array
from miner.images.axes import check_rows_first, find_axes, spatial
from miner.images.metadata import profile_remarks, tiff_metadata
from miner.images.photometric import find_conversion
from miner.images.pixel_format import OpenedFile, Orientation, Read, decoding, new_array
from miner.images.tiff_pages import Found, find_pages
from miner.signals.regions import Region, sides_of, slices, tiles
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION, _NOT_COMPRESSED, _JPEG, _LERC = 274, 1, 7, 34887
_COLOURS_OF_JPEG = (2, 5, 6)  # photometric RGB, CMYK, YCbCr
_MAX_SEGMENT_BYTES = 2**28  # a strip or tile is decoded whole
_PART_VALUES = 2**22  # that a thread reads at once, unless segments are larger
_PARTS_BYTES, _MOST_THREADS = 2**28, 16
_REMEDY = "save it as an uncompressed TIFF, in tiles"

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # our errors report what matters


def open_tiff(file: Path, axes: str | None = None) -> OpenedFile:
    """Read the header of a file's picture, or of the pages that `axes` or the file itself joins.

    Raises `ImageError` for what is damaged, cut short, or of a kind that is not read.
    """
    import tifffile

    with decoding(), tifffile.TiffFile(file) as tiff:
        found = find_pages(tiff, axes)
        stack = _Stack(found)
        number = 1 if found.lead else int(found.key.tags.valueof(_ORIENTATION, 1))
        turn = Orientation.of_exif(number)
        metadata = tiff_metadata(found.key)
        said = metadata.nodata.strip("\0 \n")
        nodata = _of_pixels(said, found.key, stack.convert)
        if said and not nodata:
            rule = "which is no value that all channels have: it is ignored; give image.mask"
            stack.remarks.append(f"names the no-data value {said}, {rule}")
        is_kept = int(found.key.photometric) not in (5, 8)  # CMYK and CIELab
        stack.remarks += profile_remarks(is_kept and 34675 in found.key.tags, metadata)
    if not found.lead:
        check_rows_first(axes)
        axes = None
    names = (*found.names, *"YXS"[: len(stack.shape) - len(found.lead)])
    opened = open_array(file.stem, stack, axes, names)
    return replace(
        opened,
        sides=turn.upright_sides(opened.sides),
        load=partial(_load, stack, opened, find_axes(stack.shape, axes, names)),
        orientation=turn,
        remarks=(*opened.remarks, *stack.remarks),
        metadata=replace(metadata, nodata=nodata),
    )


def _of_pixels(text: str, page: Any, convert: Callable[[NDArray[Any]], NDArray[Any]]) -> str:
    """The no-data value of samples as that of pixels; empty where these have different values."""
    try:
        value = float(text)
    except ValueError:
        return ""
    if page.dtype.kind not in "biu" or value % 1:
        return text
    n_signs = int(page.dtype.kind == "i")
    most = 2 ** (int(page.bitspersample) - n_signs) - 1
    if not -n_signs * (most + 1) <= value <= most:  # as no sample has
        return text
    sample = np.full((1, 1, page.samplesperpixel), value, page.dtype)
    first, *others = np.unique(convert(sample)).tolist()
    return "" if others else text if first == value else str(first)


def _load(stack: "_Stack", opened: OpenedFile, axes: str, box: Region, scratch: Scratch) -> Read:
    """Decode a box of pixels, in parts that begin where segments do."""
    sides, n_channels = sides_of(box), opened.n_channels
    array = new_array(scratch, "image", (*sides, n_channels), opened.dtype)
    lengths = dict(zip(axes, stack.part_sides(n_channels), strict=False))
    steps = [lengths[axis] for axis in spatial(axes)]
    before = [first % step for (first, _), step in zip(box, steps, strict=True)]
    read = opened.load(box, scratch)

    def copy(part: Region) -> None:
        pairs = zip(part, before, strict=True)
        inside = slices(tuple((max(0, first - n), end - n) for (first, end), n in pairs))
        array[inside] = read(inside)

    n_threads = min(_MOST_THREADS, _PARTS_BYTES // (math.prod(steps) * n_channels * 8))
    with ThreadPoolExecutor(max(1, n_threads)) as pool:
        parts = tiles([n + side for n, side in zip(before, sides, strict=True)], steps)
        list(pool.map(copy, parts))
    return array.__getitem__


class _Stack:
    """Pages as an array (*L, H, W, C), or (*L, H, W) of one channel, decoded where indexed."""

    def __init__(self, found: Found) -> None:
        key, self._pages, self._lead = found.key, found.pages, found.lead
        self._key, self._sides = key, (key.imagelength, key.imagewidth)
        self.convert, remarks = find_conversion(key)
        self._decoder = key.decode  # which may look into the file
        self._fill = 0 if key.dtype.kind == "b" else key.nodata
        self.remarks = [*found.remarks, *remarks]
        self._is_mapped = key.is_final and all(map(_is_contiguous, filter(None, found.pages)))
        n_rows, n_columns = (key.tilelength, key.tilewidth) if key.is_tiled else (0, 0)
        self._segment = (n_rows or key.rowsperstrip, n_columns or key.imagewidth)
        self._check_segments()
        if self._is_mapped:  # any rows can be read
            self._segment = (1, key.imagewidth)
        pixel = self.convert(np.zeros((1, 1, key.samplesperpixel), key.dtype))
        self.dtype = key.dtype if pixel.dtype.kind == "f" else pixel.dtype
        self.shape = (*found.lead, *self._sides, *(pixel.shape[2:] if pixel.size > 1 else ()))

    def _check_segments(self) -> None:
        """Refuse large, missing and cut strips and tiles; remark on those left out."""
        key, (rows, columns) = self._key, self._segment
        size = rows * -(-columns * key.shaped[-1] * int(key.bitspersample) // 8)
        if size > _MAX_SEGMENT_BYTES and not self._is_mapped:
            raise ImageError(f"has strips or tiles of {size} bytes each: {_REMEDY}")
        n = key.shaped[0] * -(-self._sides[0] // rows) * -(-self._sides[1] // columns)
        most = size if int(key.compression) == _NOT_COMPRESSED else math.inf  # more is harmless
        n_missing = n * sum(page is None for page in self._pages)
        for page in filter(None, self._pages):
            counts = page.databytecounts[:n]
            segments = list(zip(page.dataoffsets, counts, strict=False))
            if len(segments) < n:
                raise ImageError(f"has {len(segments)} of its {n} strips or tiles: {_REMEDY}")
            n_missing += counts.count(0)
            end = max((o + min(count, most) for o, count in segments if count), default=0)
            if end > (n_bytes := page.parent.filehandle.size):
                sizes = f"it has {n_bytes} bytes and its pixels end at byte {end}"
                raise ImageError(f"is cut short: {sizes}; copy or export it again")
        if n_missing:
            of = "tiles" if key.is_tiled else "strips"
            lacks = f"lacks {n_missing} of its {of}"
            self.remarks.append(f"{lacks}: they are read as {self._fill or 'zeros'}")

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
        pages = [self.convert(self._samples(self._pages[n], box)) for n in np.ravel(numbers)]
        values = np.stack(pages) if len(pages) > 1 else pages[0]
        return values.reshape(*np.shape(numbers), *sides_of(box), *self.shape[n + 2 :])

    def _samples(self, page: Any, box: Region) -> NDArray[Any]:
        """The samples (H, W, S) of a box of a page, with zeros or no-data for what is left out."""
        key, (top, bottom), (left, right) = self._key, *box
        is_planar = key.shaped[0] > 1
        if page is not None and self._is_mapped:
            name, offset = page.parent.filehandle.path, page.dataoffsets[0]
            dtype = key.dtype.newbyteorder(key.parent.byteorder)
            mapped = np.memmap(name, dtype, "r", offset, key.shaped)[:, 0, top:bottom, left:right]
            samples = np.moveaxis(mapped, 0, -1)[..., 0, :] if is_planar else mapped[0]
            return samples.astype(key.dtype, copy=False)
        shape = (bottom - top, right - left, key.samplesperpixel)
        samples = np.full(shape, self._fill, key.dtype)
        rows, columns = self._segment
        for plane, row, column in itertools.product(
            range(key.shaped[0] if page else 0),
            range(top // rows, -(-bottom // rows)),
            range(left // columns, -(-right // columns)),
        ):
            down, across = -(-self._sides[0] // rows), -(-self._sides[1] // columns)
            decoded = self._decode(page, (plane * down + row) * across + column)
            if decoded is not None:
                y, x = row * rows - top, column * columns - left
                place = samples[max(y, 0) : y + rows, max(x, 0) : x + columns]
                place = place[..., plane : plane + 1] if is_planar else place
                place[:] = decoded[max(-y, 0) :, max(-x, 0) :][: len(place), : place.shape[1]]
        return samples

    def _decode(self, page: Any, n: int) -> NDArray[Any] | None:
        """A strip or tile, or None if it is left out."""
        import imagecodecs

        if not page.databytecounts[n]:
            return None
        key, place = self._key, {"count": page.databytecounts[n], "offset": page.dataoffsets[n]}
        data = np.fromfile(page.parent.filehandle.path, np.uint8, **place).tobytes()
        if int(key.compression) == _LERC:  # of which tifffile ignores the mask and the order
            decoded, mask = imagecodecs.lerc_decode(data, masks=True)
            decoded = np.atleast_3d(decoded)
            if mask is not None or decoded.shape[2] != key.shaped[-1]:
                raise ImageError(f"is compressed by LERC with a mask or in bands: {_REMEDY}")
        elif key.compression == _JPEG and (
            key.shaped[-1] == 1 or key.photometric not in _COLOURS_OF_JPEG
        ):
            space = {1: 1, 3: 2}.get(key.shaped[-1])  # as stored, where tifffile would guess
            tables = {"tables": page.jpegtables, "bitspersample": key.bitspersample}
            decoded = imagecodecs.jpeg_decode(data, colorspace=space, outcolorspace=space, **tables)
            decoded = np.atleast_3d(decoded)
        else:
            tables = {"jpegtables": page.jpegtables, "jpegheader": key.jpegheader}
            decoded = self._decoder(data, n, **tables)[0][0]
        decoded = decoded != 0 if key.dtype.kind == "b" else decoded  # fax gives uint8
        if decoded.dtype != key.dtype:
            raise ImageError(f"holds {decoded.dtype} values, and says {key.dtype}: {_REMEDY}")
        return np.asarray(decoded)


def _is_contiguous(page: Any) -> bool:
    starts, sizes = page.dataoffsets, page.databytecounts
    are_next = (a + n == b for a, n, b in zip(starts, sizes, starts[1:], strict=False))
    return min(sizes) > 0 and all(are_next)
