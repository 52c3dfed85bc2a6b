"""The bound on an image's size."""

from __future__ import annotations

from miner.images.errors import ImageError


def check_size(name: str, width_px: int, height_px: int, max_pixels: int) -> None:
    """Raise `ImageError` if the image has more than `max_pixels` pixels."""
    n_pixels = width_px * height_px
    if n_pixels > max_pixels:
        raise ImageError(
            f"{name!r} has {width_px} x {height_px} = {n_pixels} pixels, more than "
            f"image.max_pixels={max_pixels}: raise image.max_pixels to {n_pixels} or more"
        )
