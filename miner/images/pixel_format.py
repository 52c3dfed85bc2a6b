"""Pixel types, their conversion to the unit range, and EXIF orientation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from miner.signals.regions import Region
from miner.signals.scratch import ArrayLike, Scratch
from miner.support.errors import ImageError


@dataclass(frozen=True)
class Orientation:
    """Upright is: rows and columns swapped first, then each turned round."""

    swaps: bool
    turns: tuple[bool, bool]  # rows, columns

    @classmethod
    def of_exif(cls, value: int) -> Orientation:
        """One of the eight that EXIF numbers from 1; any other value leaves the image as it is."""
        return _BY_NUMBER.get(value, UPRIGHT)

    def upright_sides(self, stored: tuple[int, int]) -> tuple[int, int]:
        """Height and width upright, of those stored."""
        return (stored[1], stored[0]) if self.swaps else stored

    def stored(self, region: Region, sides: tuple[int, int]) -> Region:
        """Where a region of the upright image, with these sides, is stored."""
        box = tuple(
            (side - end, side - first) if turn else (first, end)
            for (first, end), side, turn in zip(region, sides, self.turns, strict=True)
        )
        return box[::-1] if self.swaps else box

    def upright(self, values: NDArray[Any]) -> NDArray[Any]:
        """Turn stored values (H, W, C) upright; gives a view."""
        if self.swaps:
            values = values.swapaxes(0, 1)
        rows, columns = (slice(None, None, -1 if turn else 1) for turn in self.turns)
        return values[rows, columns]


UPRIGHT = Orientation(False, (False, False))

_BY_NUMBER = {
    2: Orientation(False, (False, True)),
    3: Orientation(False, (True, True)),
    4: Orientation(False, (True, False)),
    5: Orientation(True, (False, False)),
    6: Orientation(True, (False, True)),
    7: Orientation(True, (True, True)),
    8: Orientation(True, (True, False)),
}

PixelType = Literal["uint8", "uint16", "float32"]

_INTERPRETATIONS: dict[str, tuple[str, str]] = {  # 1 or 2 channels, 3 or 4 channels
    "uint8": ("b-w", "srgb"),
    "uint16": ("grey16", "rgb16"),
    "float32": ("b-w", "scrgb"),
}


_PEAKS: dict[str, float] = {"uint8": 255.0, "uint16": 65535.0}


@dataclass(frozen=True)
class PixelFormat:
    """A file's storage: `value = offset + scale * unit`, with `unit` in [0, 1].

    Made of plain values, so `dataclasses.asdict` gives JSON and `PixelFormat(**json)` reads it
    back. Raises `ImageError` if a field is out of range.
    """

    dtype: PixelType
    channels: int  # 1 or more; 2 and 4 carry alpha last when the file says so
    interpretation: str  # the pyvips colour space to write: b-w, grey16, srgb, ..., multiband
    scale: float  # 255, 65535, or for float32 the span of the values
    offset: float  # 0, or for float32 the least value

    def __post_init__(self) -> None:
        """Check each field."""
        known = {"multiband", *(name for pair in _INTERPRETATIONS.values() for name in pair)}
        rules = (
            ("dtype", self.dtype in get_args(PixelType), f"use one of {get_args(PixelType)}"),
            ("channels", self.channels >= 1, "use 1 or more"),
            ("interpretation", self.interpretation in known, f"use one of {sorted(known)}"),
            ("scale", 0 < self.scale < math.inf, "use a finite number above 0"),
            ("offset", math.isfinite(self.offset), "use a finite number"),
        )
        for field, holds, remedy in rules:
            if not holds:
                raise ImageError(f"pixel format {field}={getattr(self, field)!r}: {remedy}")

    @classmethod
    def of_values(
        cls, dtype: PixelType, channels: int, low: float = 0.0, high: float = 1.0
    ) -> PixelFormat:
        """Choose the format for values between `low` and `high`, which matter for float32 only.

        Float values within [0, 1] are kept; others are mapped so that [low, high] is [0, 1].
        """
        grey, colour = _INTERPRETATIONS[dtype]
        interpretation = grey if channels <= 2 else colour if channels <= 4 else "multiband"
        scale, offset = _PEAKS.get(dtype, 1.0), 0.0
        if dtype == "float32" and not 0.0 <= low <= high <= 1.0:
            scale, offset = (high - low) or 1.0, low
        return cls(dtype, channels, interpretation, scale, offset)

    def to_unit(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Map stored values of any shape to [0, 1]; gives a new C-contiguous float32 array."""
        unit = np.array(pixels, dtype=self._working_type, order="C")
        unit -= self.offset
        unit /= self.scale
        return unit.astype(np.float32, copy=False)

    def from_unit(self, unit: NDArray[Any]) -> NDArray[Any]:
        """Map values of any shape, clipped to [0, 1], to a new array of `dtype`; integers rounded.

        Raises `ImageError` if a value is NaN.
        """
        values = np.clip(np.asarray(unit, dtype=self._working_type), 0.0, 1.0)
        if np.isnan(values.max(initial=0.0)):
            count = int(np.isnan(values).sum())
            raise ImageError(
                f"{count} of {values.size} values are NaN: only numbers can be stored; "
                "the fit has probably diverged, lower its learning rate"
            )
        values *= self.scale
        values += self.offset
        if self.dtype != "float32":
            np.rint(values, out=values)
        return values.astype(self.dtype)

    @property
    def _working_type(self) -> type[np.floating[Any]]:
        # float32 carries 16-bit integers exactly; a float range needs more to come back close
        return np.float64 if self.dtype == "float32" else np.float32


@dataclass(frozen=True)
class DecodedImage:
    """An opened file, of which no pixel has been decoded yet."""

    file: Path
    sides: tuple[int, int]  # height and width as stored, before they are turned upright
    n_channels: int
    dtype: PixelType  # of the values that `load` gives
    load: Callable[[Region, Scratch], ArrayLike]  # a stored region, once, as (h, w, C) of `dtype`
    orientation: Orientation = UPRIGHT
    remarks: tuple[str, ...] = ()  # what is converted or left out
