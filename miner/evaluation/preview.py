"""An image in small, filled tile by tile."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from miner.regions import Region

MAX_SIDE = 2048
"""Longest side of a picture in pixels."""


class Preview:
    """A picture `(C, h, w)`, smaller than the image by the least power of two that fits.

    Each of its pixels is the mean over those of the image that it stands for. An image that fits
    is its own preview.
    """

    def __init__(self, sides: tuple[int, ...], n_channels: int, side: int = MAX_SIDE) -> None:
        """Take the image's height and width, its channels, and the preview's longest side.

        Raises:
            ValueError: these are not the sides of an image.
        """
        if len(sides) != 2 or min(sides) < 1 or side < 1:
            raise ValueError(f"sides={sides} within {side}: give a height and a width, 1 or more")
        self.factor = 1
        while math.ceil(max(sides) / self.factor) > side:
            self.factor *= 2
        self._sides = sides
        small = (math.ceil(length / self.factor) for length in sides)
        self.pixels: NDArray[np.float32] = np.zeros((n_channels, *small), dtype=np.float32)

    def add(self, tile: Region, values: Tensor) -> None:
        """Add a tile `(C, H, W)` of the image; tiles must cover it and not overlap."""
        lead = [first % self.factor for first, _ in tile]
        rows, columns = (self._cells(*ends) for ends in tile)
        counts = torch.outer(self._counts(0)[rows], self._counts(1)[columns])
        for plane, channel in zip(self.pixels, values, strict=True):  # temporaries stay small
            padded = F.pad(channel.double()[None], (lead[1], 0, lead[0], 0))
            # Sums, to which other tiles may add: a pixel may lie across several.
            sums = F.avg_pool2d(padded, self.factor, ceil_mode=True, divisor_override=1)
            plane[rows, columns] += (sums[0] / counts).float().numpy()

    def _cells(self, first: int, end: int) -> slice:
        return slice(first // self.factor, math.ceil(end / self.factor))

    def _counts(self, axis: int) -> Tensor:
        """Real pixels that each pixel of the preview stands for along an axis."""
        starts = torch.arange(0, self._sides[axis], self.factor)
        return (self._sides[axis] - starts).clamp(max=self.factor)
