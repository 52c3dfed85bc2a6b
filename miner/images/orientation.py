"""EXIF orientations: how an image as stored is turned upright, region by region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from miner.regions import Region


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
