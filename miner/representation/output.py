"""Where a rendered image goes: its size, and arrays or files that are filled tile by tile."""

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.encode import PixelCanvas, check_writable_format
from miner.images.pixel_format import PixelFormat
from miner.signals.regions import TILE_SIDE, Region, slices, tiles
from miner.signals.scratch import IN_MEMORY_BYTES, Scratch, n_bytes
from miner.signals.signal import Signal

Track = Callable[[Sequence[Region]], Iterable[Region]]
"""Goes through tiles and may show how far it is."""


def size_of(
    sides: tuple[int, ...], scale: float | None, size: Sequence[int] | None
) -> tuple[int, ...]:
    """Sides of an image at a scale or a size, of which one may be given; `ValueError` otherwise."""
    if scale is not None and size is not None:
        raise ValueError(f"scale={scale} and size={size}: give one of them")
    if scale is not None:
        if not 0 < scale < math.inf:
            raise ValueError(f"scale={scale}: must be above 0, as 2.5")
        return tuple(max(1, round(scale * side)) for side in sides)
    found = sides if size is None else tuple(map(operator.index, size))
    if len(found) != len(sides) or min(found) < 1:
        raise ValueError(f"size={size}: must be {len(sides)} sides of 1 pixel and more, rows first")
    return found


def unit_values(
    image: NDArray[Any], shape: tuple[int, ...], format: PixelFormat
) -> NDArray[np.float32]:
    """An image `(C, *S)`, or `S` of one channel, in [0, 1]; a `ValueError` for another shape.

    Values of the format's type are the file's, other floats are in [0, 1] already.
    """
    if image.shape not in (shape, shape[shape[0] == 1 :]):
        raise ValueError(f"image of shape {image.shape}: must be {shape}")
    if image.dtype != format.dtype and image.dtype.kind != "f":
        raise ValueError(
            f"image of {image.dtype}: must be of {format.dtype}, or of floats in [0, 1]"
        )
    values = format.to_unit(image) if image.dtype == format.dtype else image.astype(np.float32)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"values from {image.min()} to {image.max()}: must lie in [0, 1]; scale them"
        )
    return values.reshape(shape)


def fill(out: np.ndarray, image: Signal) -> np.ndarray:
    """Copy an image `(C, *S)`, clipped to the unit range, into an array; `ValueError` if unfit."""
    shape = (image.n_channels, *image.sides)
    if out.shape != shape or out.dtype.kind != "f":
        raise ValueError(f"out of {out.dtype} {out.shape}: must be of floats, {shape}")
    for box in tiles(image.sides):
        out[(slice(None), *slices(box))] = image.read(box).clamp(0, 1).cpu().numpy()
    return out


def write_image(
    path: Path,
    image: Signal,
    format: PixelFormat,
    *,
    track: Track = iter,
    tile_side: int = TILE_SIDE,
    in_memory_bytes: int = IN_MEMORY_BYTES,
) -> Path:
    """Write an image as the suffix of a file demands, in the format's bit depth and range.

    One of more than `in_memory_bytes` is assembled in a scratch file in the folder of `path`.
    Raises `ImageError` for a suffix that does not suit the image, or an unwritable file;
    `ValueError` for a volume.
    """
    if len(image.sides) != 2:
        raise ValueError(f"a volume of {len(image.sides)} axes: only images are rendered to files")
    height_px, width_px = image.sides
    check_writable_format(path, format, height_px, width_px)
    size = n_bytes((height_px, width_px, image.n_channels), format.dtype)
    folder = None if size <= in_memory_bytes else path.with_name(f".{path.name}.scratch")
    with Scratch(folder) as scratch:
        canvas = PixelCanvas(format, height_px, width_px, scratch)
        for box in track(list(tiles(image.sides, tile_side))):
            canvas.fill(box, image.read(box).clamp(0, 1).cpu().numpy())
        return canvas.save(path)
