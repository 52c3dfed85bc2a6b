"""Tiles of a block's pixels in Triton."""

import triton
import triton.language as tl


@triton.jit
def load_tile(
    encoded,
    targets,
    order,
    tile,
    n_pixels,
    inputs,
    channels,
    DRAWS: tl.constexpr,
    WHOLE: tl.constexpr,
    TILE: tl.constexpr,
    EP: tl.constexpr,
    CP: tl.constexpr,
):
    """Inputs `(TILE, EP)`, targets `(TILE, CP)` and which pixels there are, `(TILE, 1)`."""
    e = tl.arange(0, EP)[None, :]
    c = tl.arange(0, CP)[None, :]
    pixel = tile * TILE + tl.arange(0, TILE)
    is_pixel = (pixel < n_pixels)[:, None]
    if DRAWS:
        pixel = tl.load(order + pixel, mask=pixel < n_pixels, other=0)
    pixel = pixel[:, None]
    if WHOLE:
        x = tl.load(encoded + pixel * inputs + e, mask=e < inputs, other=0.0)
        t = tl.load(targets + pixel * channels + c, mask=c < channels, other=0.0)
    else:
        x = tl.load(encoded + pixel * inputs + e, mask=is_pixel & (e < inputs), other=0.0)
        t = tl.load(targets + pixel * channels + c, mask=is_pixel & (c < channels), other=0.0)
    return x, t, is_pixel
