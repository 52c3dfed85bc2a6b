"""Pixels without data: found, filled from around, and written as the source's no-data value."""

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from miner.images.pixel_format import PixelFormat, new_array
from miner.signals.mask import Mask, Valid
from miner.signals.regions import Region, slices, tiles, whole
from miner.signals.scratch import Scratch, WritableArray
from miner.support.errors import ImageError

ReadStored = Callable[[Region], NDArray[Any]]
"""Gives the values `(*S, C)` of a region, upright, in the file's type."""

_BOX_VALUES = 2**20
_HUGE, _TOLERANCE = 1e30, 2.0**-22  # writers round -3.4028235e38 to fewer digits
_LOG = logging.getLogger("miner")


def nodata_value(text: str, dtype: DTypeLike) -> Any:
    """A no-data value as NumPy's number of a type; None for none, or one that the type lacks."""
    try:
        value = float(text)
    except ValueError:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        cast = np.array(value).astype(dtype)[()]
    return cast if cast.dtype.kind == "f" or cast == value else None


def mask_of_array(values: NDArray[Any], sides: tuple[int, ...]) -> Mask:
    """The mask of an array `(*S)` in which non-zero is data; `ImageError` for another shape."""
    if values.dtype.kind not in "biuf":
        raise ImageError(f"mask of {values.dtype}: give numbers, 0 where there is no data")
    if values.shape != sides:
        rule = f"the image has {sides}; give one number a pixel, not 0 where there is data"
        raise ImageError(f"mask of shape {values.shape}: {rule}")
    return Mask.of_parts(sides, [(whole(sides), np.nan_to_num(values) != 0)])


def mask_of_image(read: ReadStored, sides: tuple[int, ...], n_channels: int) -> Mask:
    """The mask of an image in which a pixel is data that is not 0 in some channel."""
    parts = ((box, (read(box) != 0).any(-1)) for box in _boxes(sides, n_channels))
    return Mask.of_parts(sides, parts)


def find_mask(
    read: ReadStored,
    format: PixelFormat,
    sides: tuple[int, ...],
    is_given: bool = False,
    given: Mask | None = None,
) -> Mask | None:
    """Which pixels are data: those of a mask that hold neither NaN nor no-data in all channels.

    Where only some channels do, they are data if a user has given the no-data value, and else an
    `ImageError`, as is an image without data. None if all pixels are data.
    """
    nodata, n_some = format.metadata.nodata, 0
    value = nodata_value(nodata, format.dtype)
    if is_given and nodata and value is None:
        raise ImageError(f"holds {format.dtype}, and image.nodata={nodata}: name one of its values")
    if value is None and given is None and format.dtype != "float32":
        return None

    def parts() -> Iterator[tuple[Region, Valid]]:
        nonlocal n_some
        for box in _boxes(sides, format.channels):
            missing = _is_missing(read(box), value)
            valid = True if given is None else given.valid(box)
            if value is not None:
                n_some += int((missing.any(-1) & ~missing.all(-1) & valid).sum())
            yield box, np.asarray(~missing.all(-1) & valid)

    mask = Mask.of_parts(sides, parts())
    some = f"{n_some} pixels of which some channels, not all, hold the no-data value {nodata}"
    if n_some and not is_given:
        raise ImageError(
            f"has {some}: image.nodata={nodata} masks only pixels whose channels all do, "
            "image.nodata=none takes all as data"
        )
    if n_some:
        _LOG.warning("the image has %s: they are data", some)
    if not mask.n_valid:
        remedy = "mask fewer, or take no-data values as data by image.nodata=none"
        raise ImageError(f"holds no data: all pixels are NaN, no-data or masked; {remedy}")
    return mask if mask.n_masked else None


def fill(read: ReadStored, format: PixelFormat, mask: Mask, scratch: Scratch) -> WritableArray:
    """A copy of an image, masked pixels filled smoothly within the range of what is around."""
    shape, empty = (*mask.sides, format.channels), []
    filled, total = new_array(scratch, "filled", shape, format.dtype), np.zeros(format.channels)
    for box in _boxes(mask.sides, format.channels):
        values, valid = read(box), mask.valid(box)
        if not valid.any():
            empty.append(box)
            continue
        filled[slices(box)] = values if valid.all() else _filled(values, valid)
        total += values[valid].sum(0, dtype=float)
    for box in empty:  # far from all others
        filled[slices(box)] = _as_type(np.nan_to_num(total / mask.n_valid), format.dtype)
    return filled


def with_nodata(pixels: NDArray[Any], format: PixelFormat, valid: Valid | None) -> NDArray[Any]:
    """Pixels `(*S, C)` to be written, with the source's no-data value where there is none.

    Other pixels that would have it in a channel have the next value there.
    """
    value, is_float = nodata_value(format.metadata.nodata, pixels.dtype), pixels.dtype.kind == "f"
    if value is not None and (is_lost := _is_missing(pixels, value)).any():
        is_low = value < format.offset + format.scale / 2
        if is_float:
            away = np.nextafter(value, np.float32(np.inf if is_low else -np.inf))
        else:
            away = int(value) + (1 if is_low else -1)
        pixels[is_lost] = away
    if valid is not None:
        pixels[~valid] = (np.nan if is_float else 0) if value is None else value
    return pixels


def _boxes(sides: tuple[int, ...], n_channels: int) -> Iterator[Region]:
    """Boxes whose sides are powers of two, so that none cuts a patch of such a side."""
    return tiles(sides, 1 << max(3, int(math.log2(_BOX_VALUES / n_channels) / len(sides))))


def _is_missing(values: NDArray[Any], value: Any) -> Valid:
    is_float = values.dtype.kind == "f"
    missing: Valid = np.isnan(values) if is_float else np.zeros(values.shape, bool)
    if value is not None:
        missing |= values == value
        if is_float and _HUGE < abs(value) < np.inf:
            missing |= np.abs(values / value - 1) <= _TOLERANCE
    return missing


def _filled(values: NDArray[Any], valid: Valid) -> NDArray[Any]:
    """A box `(*S, C)` with some data, filled; values that are not finite have no part in it."""
    known = valid[..., None] & np.isfinite(values)
    data = np.where(known, values, 0).astype(float)
    axes = tuple(range(valid.ndim))
    low = data.min(axes, where=known, initial=np.inf)
    high = data.max(axes, where=known, initial=-np.inf)
    smooth = _smooth(data, valid).clip(low, high)
    return np.where(valid[..., None], values, _as_type(smooth, values.dtype.type))


def _smooth(values: NDArray[np.float64], known: Valid) -> NDArray[np.float64]:
    """Values `(*S, C)` where they are known; elsewhere means of those around, coarse to fine."""
    if known.all():
        return values
    weights = known[..., None].astype(float)
    sums, counts = values * weights, weights
    for axis, side in enumerate(known.shape):
        pairs = range(0, side, 2)
        sums, counts = (np.add.reduceat(one, pairs, axis) for one in (sums, counts))
    coarse = _smooth(sums / counts.clip(1), counts[..., 0] > 0)
    for axis, side in enumerate(known.shape):  # linear between the centres of coarse pixels
        index = np.arange(side)
        other = (index // 2 + 2 * (index % 2) - 1).clip(0, coarse.shape[axis] - 1)
        coarse = 0.75 * coarse.take(index // 2, axis) + 0.25 * coarse.take(other, axis)
    return np.where(known[..., None], values, coarse)


def _as_type(values: NDArray[np.float64], dtype: Any) -> NDArray[Any]:
    return (values if np.dtype(dtype).kind == "f" else np.rint(values)).astype(dtype)
