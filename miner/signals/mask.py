"""Which pixels of an image are data, in one bit each."""

import hashlib
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from miner.signals.regions import Region, sides_of, slices, tiles, whole

Valid = NDArray[np.bool_]
_BAND_PIXELS = 2**24


def packed_shape(sides: Sequence[int]) -> tuple[int, ...]:
    """The shape of the bits of a mask."""
    return (*sides[:-1], -(-sides[-1] // 8))


@dataclass(frozen=True, eq=False)
class Mask:
    """Pixels `(*S)` that are data, and others that are not.

    `bits` `(*S[:-1], ceil(S[-1] / 8))` are those of `numpy.packbits` along the last axis, set where
    there is data, and 0 beyond the end.
    """

    sides: tuple[int, ...]
    bits: NDArray[np.uint8]

    @classmethod
    def of_parts(cls, sides: Sequence[int], parts: Iterable[tuple[Region, Valid]]) -> Self:
        """The mask of parts that cover it, which begin at multiples of 8 along the last axis."""
        bits = np.zeros(packed_shape(sides), np.uint8)
        for region, valid in parts:
            *others, (first, end) = region
            bits[slices((*others, (first // 8, -(-end // 8))))] = np.packbits(valid, axis=-1)
        return cls(tuple(sides), bits)

    @cached_property
    def n_valid(self) -> int:
        """Pixels that are data."""
        return sum(int(np.bitwise_count(rows).sum(dtype=np.int64)) for rows in self.bits)

    @property
    def n_masked(self) -> int:
        """Pixels that are not."""
        return math.prod(self.sides) - self.n_valid

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the bits, in hexadecimal."""
        return hashlib.sha256(self.bits.tobytes()).hexdigest()

    @cached_property
    def n_bytes(self) -> int:
        """Bytes of the bits, compressed."""
        return len(zlib.compress(self.bits.tobytes()))

    def valid(self, region: Region) -> Valid:
        """Which pixels of a region are data, `(*S)`."""
        *others, (first, end) = region
        packed = self.bits[slices((*others, (first // 8, -(-end // 8))))]
        return np.unpackbits(packed, axis=-1)[..., first % 8 :][..., : end - first].view(np.bool_)

    def at(self, pixels: Sequence[NDArray[Any]]) -> Valid:
        """Which of some pixels are data, by their numbers along each axis, `(N,)`."""
        *others, last = pixels
        bits = self.bits[(*others, last >> 3)] >> (7 - last % 8)
        return np.asarray(bits & 1, np.bool_)

    def cropped(self, region: Region) -> "Mask":
        """The mask of a region."""
        sides = sides_of(region)
        return Mask.of_parts(sides, [(whole(sides), self.valid(region))])

    def __and__(self, other: "Mask") -> "Mask":
        return Mask(self.sides, self.bits & other.bits)

    def reduced(self, step: int) -> "Mask":
        """Which boxes of `step` pixels a side, smaller at the far edges, hold any data."""
        sides = tuple(-(-side // step) for side in self.sides)
        bits = np.zeros(packed_shape(sides), np.uint8)
        n_rows = max(1, _BAND_PIXELS // (math.prod(self.sides[1:]) * step))
        for (first, end), *_ in tiles(sides, (n_rows, *sides[1:])):
            rows = first * step, min(end * step, self.sides[0])
            valid = self.valid((rows, *whole(self.sides[1:])))
            for axis, side in enumerate(valid.shape):
                valid = np.logical_or.reduceat(valid, range(0, side, step), axis)
            bits[first:end] = np.packbits(valid, axis=-1)
        return Mask(sides, bits)
