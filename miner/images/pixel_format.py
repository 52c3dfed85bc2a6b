"""How an image's file stores its values, and the way to [0, 1] and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from miner.images.errors import ImageError

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
