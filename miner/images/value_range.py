"""The range of values that is mapped to [0, 1]: the type's, one that is given, or the data's."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.pixel_format import TYPE_RANGES
from miner.signals.regions import Region
from miner.support.errors import ImageError

Parts = Callable[[], Iterator[tuple[Region, NDArray[Any]]]]
"""Gives all of an image, part by part: a region and its values `(*S, C)`."""

_SAMPLED = 4096  # values of a part that tell whether others are far beyond them
_GAP = 0.75  # of the greatest distance from the median
_FEW = 0.05  # of the values
_LOG = logging.getLogger("miner")


def find_range(
    dtype: str, given: str | Sequence[float], parts: Parts, has_alpha: bool, max_mse: float
) -> tuple[float, float]:
    """Least and greatest value that count of a file's type; `given` is auto, dtype or both values.

    `auto` is the range of the values, of uint8 that of the type; a few values far beyond the others
    are warned about, and alpha, the last channel, where it takes most of the range. Those beyond a
    given range are warned about, too, and are to be cut off, and a range of which most values take
    less than the root of `max_mse`.
    Raises `ImageError` for values that are not finite, and for a range that the type lacks.
    """
    of_type = TYPE_RANGES[dtype]
    is_given = not isinstance(given, str)
    wanted = (float(given[0]), float(given[1])) if is_given else of_type
    if dtype != "float32":
        if not of_type[0] <= wanted[0] < wanted[1] <= of_type[1]:
            raise ImageError(f"holds {dtype}, and image.range={list(given)}: name a part of that")
        if given == "dtype" or (dtype == "uint8" and not is_given):
            return wanted
    low, high, sample = _measure(parts)
    found, is_warned = f"holds values from {low:g} to {high:g}", False
    if given == "auto":
        colours = partial(_colours, parts) if has_alpha else parts
        least, most, sample = _measure(colours) if has_alpha else (low, high, sample)
        if 0 < most - least < (1 - _GAP) * (high - low):
            gain = 20 * math.log10((high - low) / (most - least))
            remedy = f"for as good colours set fitting.target_psnr {gain:.0f} dB higher"
            _LOG.warning("the image %s, mostly for alpha, its last channel: %s", found, remedy)
        is_warned, wanted = _warn_of_few(sample, colours, found), (low, high)
    elif not is_given and not wanted[0] <= low <= high <= wanted[1]:
        raise ImageError(f"{found}, and image.range=dtype is 0 to 1 for floats: use auto")
    elif not wanted[0] <= low <= high <= wanted[1]:
        _LOG.warning("the image %s: what is beyond image.range=%s is cut off", found, list(given))
    if not is_warned:
        _warn_of_wide(sample, wanted, found, max_mse)
    return wanted


def _colours(parts: Parts) -> Iterator[tuple[Region, NDArray[Any]]]:
    return ((region, values[..., :-1]) for region, values in parts())


def _measure(parts: Parts) -> tuple[float, float, NDArray[np.float64]]:
    """Least and greatest value, and a sample with those of each part."""
    low, high, n_bad = math.inf, -math.inf, 0
    samples: list[NDArray[Any]] = []
    for _, values in parts():
        least, most = values.min(), values.max()
        low, high = min(low, float(least)), max(high, float(most))
        if not np.isfinite([least, most]).all():
            n_bad += int((~np.isfinite(values)).sum())
        flat = values.reshape(-1)
        samples += [flat[:: 1 + flat.size // _SAMPLED], np.array([least, most])]
    if n_bad:
        problem = f"holds {n_bad} values that are NaN or infinite in float32"
        rule = "every value must be finite, but of pixels whose channels all are NaN"
        raise ImageError(f"{problem}: {rule}; replace them, say with 0")
    return low, high, np.concatenate(samples, dtype=np.float64)


def _warn_of_wide(
    sample: NDArray[np.float64], wanted: tuple[float, float], found: str, max_mse: float
) -> None:
    """Warn if half of the values that vary are closer to the median than the bound's error."""
    middle, span, error = float(np.median(sample)), wanted[1] - wanted[0], math.sqrt(max_mse)
    varied = sample[sample != middle]
    spread = float(np.median(np.abs(varied - middle))) if varied.size else math.inf
    if spread < span * error:
        low = max(wanted[0], middle - 0.49 * spread / error)
        most = f"most within {spread:.2g} of {middle:.2g}, and fitting.max_mse={max_mse:g} allows"
        target_db = math.ceil(20 * math.log10(span / spread))
        remedy = (
            f"fitting.target_psnr={target_db} or more keeps them, as does "
            f"image.range=[{low:.4g},{low + 0.98 * spread / error:.4g}], which cuts off others"
        )
        _LOG.warning("the image %s, %s an error of %.2g: %s", found, most, span * error, remedy)


def _warn_of_few(sample: NDArray[np.float64], parts: Parts, found: str) -> bool:
    """Warn of values beyond a gap that takes most of the range; gives whether there are any."""
    middle = float(np.median(sample))
    distances = np.sort(np.abs(sample - middle))
    gaps = np.diff(distances)
    last = int(gaps.argmax())
    if distances[last] == 0 or gaps[last] <= _GAP * distances[-1]:
        return False
    limit, n_far, first = distances[last] + gaps[last] / 2, 0, ""
    low, high, nearest, n_values = math.inf, -math.inf, math.inf, 0
    for region, stored in parts():
        n_values += stored.size
        values = stored.astype(np.float64)
        distance = np.abs(values - middle)
        is_far, near = distance > limit, values[distance <= limit]
        n_far += int(is_far.sum())
        low, high = min(low, near.min(initial=low)), max(high, near.max(initial=high))
        nearest = min(nearest, distance[is_far].min(initial=nearest))
        if not first and is_far.any():
            inside = np.argwhere(is_far)[0]
            place = [n + start for n, (start, _) in zip(inside.tolist(), region, strict=False)]
            first = f"{values[tuple(inside)]:g} at {tuple(place)}"
    is_near = nearest - max(middle - low, high - middle) <= _GAP * distances[-1]  # in all values
    if is_near or n_far > _FEW * n_values:
        return False
    remedy = f"image.nodata masks a value, image.range=[{low:.7g},{high:.7g}] cuts them off"
    far = f"{n_far}, the first {first}, are far beyond all others and take most of the range"
    _LOG.warning("the image %s, of which %s: %s", found, far, remedy)
    return True
