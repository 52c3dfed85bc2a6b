"""What the header of a file tells, and the way to its pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from miner.images.orientation import UPRIGHT, Orientation
from miner.images.pixel_format import PixelType
from miner.regions import Region
from miner.scratch import ArrayLike, Scratch


@dataclass(frozen=True)
class Picture:
    """An opened file, of which no pixel has been decoded yet."""

    file: Path
    sides: tuple[int, int]  # height and width as stored, before they are turned upright
    n_channels: int
    dtype: PixelType  # of the values that `load` gives
    load: Callable[[Region, Scratch], ArrayLike]  # a stored region, once, as (h, w, C) of `dtype`
    orientation: Orientation = UPRIGHT
    remarks: tuple[str, ...] = ()  # what is converted or left out
