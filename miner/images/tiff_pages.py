"""Which pages of a TIFF file make its picture, or the stack that the file or the caller names."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
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
    lead: tuple[int, ...] = ()
    names: str = ""  # the file's, of the axes `lead`
    remarks: tuple[str, ...] = ()


def find_pages(tiff: Any, axes: str | None) -> Found:
    """What a file says its pages are, else its first page of full resolution, or all by `axes`."""
    series = tiff.series[0]
    key = series.keyframe
    n = math.prod(series.shape) // max(1, math.prod(key.shape))
    is_named = series.kind in _NAMED or known_axes(series.shape, series.axes)
    if n > 1 and is_named and series.transform is None:
        others = len(tiff.series) - 1
        remark = f"has {others} more images: only the first is read"
        return _stack(series, n, (remark,) if others else ())
    pages, remarks = _pictures(tiff)
    alike = [page for page in pages if page.hash == pages[0].hash]
    if len(alike) > 1 and axes and axes.upper() not in ("HW", "HWC"):
        left = len(pages) - len(alike)
        remarks += [f"has {left} pages of another size or kind: they are left out"] if left else []
        return Found(pages[0], alike, (len(alike),), "?", tuple(remarks))
    if len(pages) > 1:
        remarks.append(f"has {len(pages)} pages or frames: {_FIRST}")
        largest = max(pages, key=_n_pixels)
        if _n_pixels(largest) > _n_pixels(pages[0]):
            sides = f"{largest.imagewidth}x{largest.imagelength}"
            remarks.append(f"holds a larger image, of {sides}, in a later page")
    return Found(pages[0], pages[:1], remarks=tuple(remarks))


def _stack(series: Any, n: int, remarks: tuple[str, ...]) -> Found:
    """All pages of a series; those that lie behind the first need no headers of their own."""
    key = series.keyframe
    sides = [side for side in key.shape if side > 1]
    for n_lead in range(1, len(series.shape)):
        lead, rest = series.shape[:n_lead], series.shape[n_lead:]
        if math.prod(lead) == n and [side for side in rest if side > 1] == sides:
            break
    else:
        problem = f"has axes of {tuple(series.shape)}, in {n} pages of {tuple(key.shape)}"
        raise ImageError(f"{problem}: save each plane as a page")
    pages = list(series)
    if series.dataoffset is not None and not series.is_multifile:
        starts, sizes = key.dataoffsets, key.databytecounts
        pages = [
            SimpleNamespace(
                dataoffsets=[start + i * key.nbytes for start in starts],
                databytecounts=sizes,
                parent=key.parent,
            )
            for i in range(n)
        ]
    if len(pages) != n:
        raise ImageError(f"has {len(pages)} of its {n} pages: export it again")
    return Found(key, pages, lead, series.axes[:n_lead], remarks)


def _pictures(tiff: Any) -> tuple[list[Any], list[str]]:
    """Pages of full resolution, which may be in the SubIFDs of a thumbnail, and remarks."""
    tiff.pages.useframes = False
    trees = [[page, *(page.pages or ())] for page in tiff.pages]
    whole = [[page for page in tree if not page.subfiletype & (_REDUCED | _MASK)] for tree in trees]
    if pages := [max(tree, key=_n_pixels) for tree in whole if tree]:
        has_mask = any(page.subfiletype & _MASK for tree in trees for page in tree)
        return pages, ["has a transparency mask, which is left out"] if has_mask else []
    reduced = [page for tree in trees for page in tree if not page.subfiletype & _MASK]
    if not reduced:
        raise ImageError("holds no image but transparency masks: export it again")
    return [max(reduced, key=_n_pixels)], [
        "is a reduced copy of an image that is not in the file"
    ]


def _n_pixels(page: Any) -> int:
    return int(page.imagewidth * page.imagelength)
