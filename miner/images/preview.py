"""Smaller pictures of what is too large to write."""

import numpy as np
from numpy.typing import NDArray

from miner.images.errors import ImageError


def preview_factor(height_px: int, width_px: int, max_pixels: int) -> int:
    """Least power of two that brings the size to `max_pixels` or fewer, when both sides are
    divided by it (an incomplete last pixel dropped, but one is kept).

    Raises:
        ImageError: `max_pixels` is below 1.
    """
    if max_pixels < 1:
        raise ImageError(f"max_pixels={max_pixels}: a preview needs 1 pixel or more")
    factor = 1
    while max(1, height_px // factor) * max(1, width_px // factor) > max_pixels:
        factor *= 2
    return factor


def shrink(pixels: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Average (C, H, W) over squares of `factor` pixels; an incomplete last one is dropped."""
    channels, height_px, width_px = pixels.shape
    rows, columns = min(factor, height_px), min(factor, width_px)
    height_px, width_px = height_px // rows, width_px // columns
    complete = pixels[:, : height_px * rows, : width_px * columns]
    squares = complete.reshape(channels, height_px, rows, width_px, columns)
    mean: NDArray[np.float32] = squares.mean(axis=(2, 4))
    return mean
