"""The range of an image's values, all of which must be numbers."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.errors import ImageError
from miner.regions import Region, tiles

Read = Callable[[Region], NDArray[Any]]
_TILE_VALUES = 2**22


def finite_range(
    name: str, read: Read, sides: tuple[int, int], n_channels: int
) -> tuple[float, float]:
    """Least and largest of the values that `read` gives, as (h, w, C), region by region.

    Raises:
        ImageError: some are NaN or infinite.
    """
    parts = [(values.min(), values.max()) for _, values in _parts(read, sides, n_channels)]
    low, high = float(np.min(parts)), float(np.max(parts))  # NaN if any value is NaN
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ImageError(_complaint(name, read, sides, n_channels))
    return low, high


def _parts(
    read: Read, sides: tuple[int, int], n_channels: int
) -> Iterator[tuple[Region, NDArray[Any]]]:
    for region in tiles(sides, max(1, math.isqrt(_TILE_VALUES // n_channels))):
        yield region, read(region)


def _complaint(name: str, read: Read, sides: tuple[int, int], n_channels: int) -> str:
    n_nan, n_infinite, first = 0, 0, (*sides, n_channels)
    for ((top, _), (left, _)), values in _parts(read, sides, n_channels):
        n_nan += int(np.count_nonzero(np.isnan(values)))
        n_infinite += int(np.count_nonzero(np.isinf(values)))
        found = np.argwhere(~np.isfinite(values))
        if len(found):
            row, column, channel = (int(number) for number in found[0])
            first = min(first, (top + row, left + column, channel))
    return (
        f"{name!r} holds {n_nan} NaN and {n_infinite} infinite values, the first at row "
        f"{first[0]}, column {first[1]}, channel {first[2]} (from 0): every value must be finite "
        "in float32; replace them, say with 0"
    )
