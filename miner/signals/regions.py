"""Boxes of pixels, and the tiles that large images are worked on by."""

import itertools
import math
from collections.abc import Iterator, Sequence

Region = tuple[tuple[int, int], ...]
"""A box of pixels: (first, one past the last) along each axis, rows first."""

TILE_SIDE = 1024
"""Pixels along a side of a tile, more or less: bounds memory, changes no result."""

DEVICE_TILE_SIDE = 2048
"""The same on a GPU, which small tiles leave idle, for signals of a few channels."""

_DEVICE_TILE_VALUES = 2**24


def whole(sides: Sequence[int]) -> Region:
    """All of an image with these sides."""
    return tuple((0, side) for side in sides)


def sides_of(region: Region) -> tuple[int, ...]:
    """Pixels along each axis of a region."""
    return tuple(end - first for first, end in region)


def slices(region: Region) -> tuple[slice, ...]:
    """The region as an index of an array."""
    return tuple(slice(first, end) for first, end in region)


def tile_side(device_type: str, n_channels: int) -> int:
    """Pixels along a side of a tile that is worked on by a device of this type."""
    if device_type == "cpu":
        return TILE_SIDE
    return min(DEVICE_TILE_SIDE, max(TILE_SIDE, math.isqrt(_DEVICE_TILE_VALUES // n_channels)))


def tiles(sides: Sequence[int], tile_side: int = TILE_SIDE) -> Iterator[Region]:
    """Cut an image into squares or cubes, row-major; those at the far edges may be smaller."""
    axes = [
        [(first, min(first + tile_side, side)) for first in range(0, side, tile_side)]
        for side in sides
    ]
    yield from itertools.product(*axes)
