"""The bound on an image's size."""

from __future__ import annotations

from miner.images.errors import ImageError

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
