"""Where a rendered image goes: its size, and arrays or files that are filled tile by tile."""

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from miner.images.encode import PixelCanvas, check_writable_format
from miner.images.pixel_format import TYPE_RANGES, PixelFormat, pixel_type
from miner.images.source import open_like
from miner.signals.regions import TILE_SIDE, Region, slices, tiles
from miner.signals.scratch import IN_MEMORY_BYTES, Scratch, n_bytes
from miner.signals.signal import ArraySignal, Signal, SourceSignal

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


def signal_of(image: ArrayLike | str | Path, shape: tuple[int, ...], format: PixelFormat) -> Signal:
    """A file, or an array `(C, *S)`, `(*S, C)` or, of one channel, `S`, in the format's unit range.

    An array has the values of the source, or those that `Representation.render` gives. Raises
    `ValueError` for another shape or type.
    """
    if isinstance(image, str | Path):
        source = open_like(str(image), format)
        return SourceSignal(source.read, source.n_channels, source.sides)
    array = np.asarray(image)
    if array.shape == (*shape[1:], shape[0]) != shape:
        array = np.moveaxis(array, -1, 0)
    if array.shape not in (shape, shape[shape[0] == 1 :]):
        raise ValueError(f"image of shape {array.shape}: must be {shape}")
    is_rendered = pixel_type(array.dtype) != format.dtype
    if is_rendered and array.dtype.kind != "f":
        rule = f"must be of {format.dtype}, or of floats as rendered"
        raise ValueError(f"image of {array.dtype}: {rule}")
    if is_rendered and not ((array >= 0) & (array <= 1)).all():
        found = f"values from {array.min()} to {array.max()}"
        raise ValueError(f"{found}: floats must lie in [0, 1], or give {format.dtype}")
    is_in_unit = is_rendered or array.dtype.kind == "b"
    values = array * TYPE_RANGES[format.dtype][1] if is_in_unit else array
    return ArraySignal(format.to_unit(values).reshape(shape))


def fill(out: np.ndarray, image: Signal, shown: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Copy what is shown of an image `(C, *S)` into an array; `ValueError` if it is unfit."""
    shape = (image.n_channels, *image.sides)
    if out.shape != shape or out.dtype.kind != "f":
        raise ValueError(f"out of {out.dtype} {out.shape}: must be of floats, {shape}")
    for box in tiles(image.sides):
        out[(slice(None), *slices(box))] = shown(image.read(box)).cpu().numpy()
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
