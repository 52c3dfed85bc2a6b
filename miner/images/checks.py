"""Checks of images: sizes, and values that are not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.signals.regions import Region, tiles
from miner.support.errors import ImageError

MAX_CHANNELS = 1024  # a header that claims more is damaged, or a trap


def check_size(
    name: str, width_px: int, height_px: int, max_pixels: int, n_channels: int = 1
) -> None:
    """Refuse what is too large before anything is decoded.

    Raises:
        ImageError: the image has no pixels, more than `max_pixels`, or too many channels.
    """
    n_pixels = width_px * height_px
    if width_px < 1 or height_px < 1 or n_channels < 1:
        raise ImageError(
            f"{name!r} has {width_px} x {height_px} pixels of {n_channels} channels: nothing is "
            "in it; export it again"
        )
    if n_pixels > max_pixels:
        raise ImageError(
            f"{name!r} has {width_px} x {height_px} = {n_pixels} pixels, more than "
            f"image.max_pixels={max_pixels}: raise image.max_pixels to {n_pixels} or more"
        )
    if n_channels > MAX_CHANNELS:
        raise ImageError(
            f"{name!r} has {n_channels} channels, more than {MAX_CHANNELS}: keep those that matter"
        )


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
