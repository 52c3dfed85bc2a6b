"""Where a rendered image goes: its size, and arrays or files that are filled tile by tile."""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from miner.images.encode import PixelCanvas, check_writable_format
from miner.images.pixel_format import TYPE_RANGES, PixelFormat
from miner.images.source import open_image
from miner.signals.regions import Region, slices, tiles
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


def signal_of(
    image: ArrayLike | str | Path,
    shape: tuple[int, ...],
    format: PixelFormat,
    settings: Mapping[str, Any],
) -> Signal:
    """A file, or an array `(C, *S)` or, of one channel, `S`, in the format's unit range.

    A file is read by a run's settings of its image; an array has the values of the source, or those
    that `Representation.render` gives. Raises `ValueError` for another shape or type.
    """
    if isinstance(image, str | Path):
        crop_px, axes = settings.get("crop_px"), settings.get("axes")
        value_range = settings.get("range", "auto")
        source = open_image(
            str(image), crop_px=crop_px, axes=axes, value_range=value_range, like=format
        )
        if (source.n_channels, *source.sides) != shape:
            raise ValueError(
                f"{image}: has {source.n_channels} channels of {source.sides} pixels, and what was "
                f"fitted {shape[0]} of {shape[1:]}; name the image that was fitted"
            )
        return SourceSignal(source.read, source.n_channels, source.sides)
    array = np.asarray(image)
    if array.shape not in (shape, shape[shape[0] == 1 :]):
        raise ValueError(f"image of shape {array.shape}: must be {shape}")
    if array.dtype != format.dtype and array.dtype.kind != "f":
        rule = f"must be of {format.dtype}, or of floats as rendered"
        raise ValueError(f"image of {array.dtype}: {rule}")
    is_rendered = array.dtype != format.dtype and format.dtype != "float32"
    if is_rendered and not ((array >= 0) & (array <= 1)).all():
        found = f"values from {array.min()} to {array.max()}"
        raise ValueError(f"{found}: floats must lie in [0, 1], or give {format.dtype}")
    values = array * TYPE_RANGES[format.dtype][1] if is_rendered else array
    return ArraySignal(format.to_unit(values).reshape(shape))


def fill(out: np.ndarray, image: Signal, format: PixelFormat, track: Track = iter) -> np.ndarray:
    """Copy an image `(C, *S)`, in values for people, into an array; `ValueError` if it is unfit."""
    shape = (image.n_channels, *image.sides)
    if out.shape != shape or out.dtype.kind != "f":
        raise ValueError(f"out of {out.dtype} {out.shape}: must be of floats, {shape}")
    for box in track(list(tiles(image.sides))):
        values = format.to_values(image.read(box).clamp(0, 1))
        out[(slice(None), *slices(box))] = values.cpu().numpy()
    return out


def write_image(path: Path, image: Signal, format: PixelFormat, track: Track = iter) -> Path:
    """Write an image as the suffix of a file demands, in the format's bit depth and range.

    One of more than `IN_MEMORY_BYTES` is assembled in a scratch file in the folder of `path`.
    Raises `ImageError` for a suffix that does not suit the image, or an unwritable file;
    `ValueError` for a volume.
    """
    if len(image.sides) != 2:
        raise ValueError(f"a volume of {len(image.sides)} axes: only images are rendered to files")
    check_writable_format(path, format, *image.sides)
    size = n_bytes((*image.sides, image.n_channels), format.dtype)
    folder = None if size <= IN_MEMORY_BYTES else path.with_name(f".{path.name}.scratch")
    with Scratch(folder) as scratch:
        canvas = PixelCanvas(format, image.sides, scratch)
        for box in track(list(tiles(image.sides))):
            canvas.fill(box, image.read(box).clamp(0, 1).cpu().numpy())
        return canvas.save(path)
