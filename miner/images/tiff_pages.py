"""Which pages of a TIFF file make its picture, or the stack that the file or the caller names."""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from miner.images.axes import known_axes
from miner.support.errors import ImageError

_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_NAMED = ("ome", "imagej", "shaped")  # kinds of files that say what their pages are together
_FIRST = "only the first is read; image.axes=DHW or CHW takes all that are alike"


@dataclass(frozen=True)
class Found:
    """Pages of one kind, as an array with axes `lead` before those of a page."""

    key: Any  # tifffile's page that describes all
    pages: Sequence[Any]  # what tells where their data is; None for those not in the file
    remarks: tuple[str, ...]
    lead: tuple[int, ...] = ()
    names: str = ""  # the file's, of the axes `lead`


def find_pages(tiff: Any, axes: str | None) -> Found:
    """What a file says its pages are, else its first page of full resolution, or all by `axes`."""
    series = tiff.series[0]
    n = math.prod(series.shape) // max(1, math.prod(series.keyframe.shape))
    is_named = series.kind in _NAMED or known_axes(series.shape, series.axes)
    if n > 1 and is_named and series.transform is None:
        others = len(tiff.series) - 1
        return _stack(series, n, (f"has {others} images more: left out",) if others else ())
    tiff.pages.useframes = False
    trees = [[page, *(page.pages or ())] for page in tiff.pages]
    images = [[page for page in tree if not page.subfiletype & _MASK] for tree in trees]
    whole = [[page for page in tree if not page.subfiletype & _REDUCED] for tree in images]
    pages = [max(tree, key=_size) for tree in whole if tree]
    remarks = ["has a transparency mask: left out"] if images != trees else []
    if not pages:
        pages = [max((page for tree in trees for page in tree), key=_size)]
        remarks.append("is a reduced copy or a mask of an image that is not in the file")
    alike = [page for page in pages if page.hash == pages[0].hash]
    if len(alike) > 1 and axes and axes.upper() not in ("HW", "HWC"):
        left = len(pages) - len(alike)
        remarks += [f"has {left} pages of another size or kind: left out"] if left else []
        return Found(pages[0], alike, tuple(remarks), (len(alike),), "?")
    if len(pages) > 1:
        largest = max(pages, key=_size)
        size = f"; the largest has {largest.imagewidth}x{largest.imagelength} pixels"
        more = size if _size(largest) > _size(pages[0]) else ""
        remarks.append(f"has {len(pages)} pages or frames: {_FIRST}{more}")
    return Found(pages[0], pages[:1], tuple(remarks))


def _size(page: Any) -> int:
    """Pixels."""
    return int(page.imagewidth) * int(page.imagelength)


def _stack(series: Any, n: int, remarks: tuple[str, ...]) -> Found:
    """All pages of a series; those that lie behind the first need no headers of their own."""
    key, shape, pages = series.keyframe, series.shape, list(series)
    if series.dataoffset is not None and not series.is_multifile:
        pages = [copy(key) for _ in range(n)]
        for i, page in enumerate(pages):
            page.dataoffsets = tuple(start + i * key.nbytes for start in key.dataoffsets)
    n_lead = next((i for i in range(1, len(shape)) if math.prod(shape[:i]) == n), 0)
    if len(pages) != n or not n_lead:
        problem = f"has axes of {tuple(shape)} in {len(pages)} pages of {tuple(key.shape)}"
        raise ImageError(f"{problem}: save each plane as a page")
    return Found(key, pages, remarks, shape[:n_lead], series.axes[:n_lead])
