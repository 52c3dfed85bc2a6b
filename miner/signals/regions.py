"""Boxes of pixels, and the tiles that large images are worked on by."""

import itertools
from collections.abc import Iterator, Sequence

Region = tuple[tuple[int, int], ...]
"""A box of pixels: (first, one past the last) along each axis, rows first."""

TILE_SIDE = 1024  # bounds memory, changes no result


def whole(sides: Sequence[int]) -> Region:
    """All of an image with these sides."""
    return tuple((0, side) for side in sides)


def sides_of(region: Region) -> tuple[int, ...]:
    """Pixels along each axis of a region."""
    return tuple(end - first for first, end in region)


def slices(region: Region, box: Region | None = None) -> tuple[slice, ...]:
    """The region as an index of an array, of an image or of a box of it."""
    starts = [first for first, _ in box or [(0, 0)] * len(region)]
    return tuple(slice(r[0] - start, r[1] - start) for r, start in zip(region, starts, strict=True))


def shifted(region: Region, box: Region) -> Region:
    """A region of a box in the coordinates that the box is given in."""
    pairs = zip(region, box, strict=True)
    return tuple((first + start, end + start) for (first, end), (start, _) in pairs)


def extended(region: Region, sides: Sequence[int], after: int, before: int = 0) -> Region:
    """A region and so many pixels after and before it along each axis, within the image."""
    return tuple(
        (max(0, first - before), min(end + after, side))
        for (first, end), side in zip(region, sides, strict=True)
    )


def overlap(region: Region, other: Region) -> Region:
    """What two boxes have in common; it may be empty along an axis."""
    pairs = zip(region, other, strict=True)
    return tuple((max(a, c), max(a, c, min(b, d))) for (a, b), (c, d) in pairs)


def tiles(sides: Sequence[int], tile_sides: int | Sequence[int] = TILE_SIDE) -> Iterator[Region]:
    """Cut an image into boxes, by default squares or cubes, row-major, smaller at the far edges."""
    steps = [tile_sides] * len(sides) if isinstance(tile_sides, int) else tile_sides
    axes = [
        [(first, min(first + step, side)) for first in range(0, side, step)]
        for side, step in zip(sides, steps, strict=True)
    ]
    yield from itertools.product(*axes)
