"""Pictures for people: RGB, text, previews, PNG files."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from miner.signals.regions import Region
from miner.support.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture = TypeVar("Picture", NDArray[np.uint8], NDArray[np.float32])

LEGEND_ROW_INCHES = 0.24
"""Height of a row of a legend below a figure."""

_LEAST_SIDE = 1024  # pixels along the longer side of a drawn picture


_LONG_SIDE_INCHES = 10.0


_MARGIN_INCHES = 0.15

# Okabe and Ito 2008, told apart under all common colour-vision deficiencies. Yellow is left
# out, as it vanishes on white.
_LEVEL_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#0072B2")


def level_colour(level: int) -> str:
    """Give the colour of a pyramid level as `#RRGGBB`, the same in every figure.

    Six colours, repeated from level 6 on.
    """
    return _LEVEL_COLOURS[level % len(_LEVEL_COLOURS)]


def describe_level(level: int) -> str:
    """Name a pyramid level and its resolution, 1/2^level."""
    return f"level {level} · " + (f"1/{2**level} resolution" if level else "full resolution")


def shown_channels(n_channels: int) -> list[int]:
    """Which channels of an image `to_display` shows: all of up to four, else the first three."""
    return list(range(n_channels if n_channels <= 4 else 3))


def to_display(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Turn a `(C, H, W)` image in the unit range into `(H, W, 3)` RGB of the same size.

    One channel is grey and three are RGB. With two (grey, alpha) or four (RGB, alpha; straight,
    not premultiplied) transparency shows a light checker. Of five or more the first three are
    shown. Values are clipped to [0, 1]; NaN becomes 0. Raises `ValueError` for other shapes.
    """
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"image of shape {image.shape}: expected (C, H, W), no side empty")
    n_channels = image.shape[0]
    colour = image[:1] if n_channels <= 2 else image[:3]
    picture = np.empty((*image.shape[1:], 3), dtype=np.uint8)
    backdrop = _checker(*image.shape[1:]) if n_channels in (2, 4) else None
    for index in range(3):  # channel by channel: temporaries stay at a third of the image
        plane = _unit(colour[min(index, len(colour) - 1)])
        if backdrop is not None:
            alpha = _unit(image[-1])
            plane = plane * alpha + backdrop * (1 - alpha)
        picture[..., index] = np.rint(plane * 255).astype(np.uint8)
    return picture


def enlarge_to_screen(picture: Picture) -> Picture:
    """Enlarge `(H, W)` or `(H, W, 3)` by the least whole factor to 1024 pixels or more a side.

    Of the longer side; pixels stay square and sharp. Larger pictures stay as they are.
    """
    factor = math.ceil(_LEAST_SIDE / max(picture.shape[:2]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def reduce_to_side(picture: Picture, side: int) -> Picture:
    """Reduce `(H, W)` or `(H, W, 3)` by area means to at most `side` pixels; never enlarge."""
    longer = max(picture.shape[:2])
    if longer <= side:
        return picture
    height, width = (max(1, round(n * side / longer)) for n in picture.shape[:2])
    return cast(Picture, cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))


def picture_figure(
    picture: NDArray[np.uint8], *, head_inches: float, foot_inches: float, min_width_inches: float
) -> "Figure":
    """Place `(H, W, 3)` pixel for pixel in a figure, with room above and below it.

    The longer side counts as 10 inches, so that text keeps its size relative to the picture.
    `min_width_inches` keeps room for the text about a narrow picture, which is then centred.
    """
    from matplotlib.figure import Figure

    height, width = picture.shape[:2]
    dpi = max(height, width) / _LONG_SIDE_INCHES
    total_width = max(width, round(min_width_inches * dpi)) + 2 * round(_MARGIN_INCHES * dpi)
    foot, head = round(foot_inches * dpi), round(head_inches * dpi)
    # Half a pixel more, as the size in inches is cut, not rounded, when it becomes pixels again.
    size = ((total_width + 0.5) / dpi, (foot + height + head + 0.5) / dpi)
    figure = Figure(figsize=size, dpi=dpi, facecolor="white")
    figure.figimage(picture, xo=(total_width - width) // 2, yo=foot, origin="upper")
    return figure


def save_png(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG at its own resolution; `path` never holds half a file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with atomic_write(path) as scratch:
        figure.savefig(scratch, format="png", dpi=figure.dpi, bbox_inches=None)


def _unit(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.fmin(np.fmax(plane, np.float32(0)), np.float32(1))  # fmax prefers 0 to NaN


def _checker(height: int, width: int) -> NDArray[np.float32]:
    """Draw a checker of white and light grey, (H, W), some 64 cells along the longer side."""
    cell = max(1, max(height, width) // 64)
    rows, columns = np.arange(height) // cell, np.arange(width) // cell
    odd = (rows[:, None] + columns) % 2 == 1
    return np.where(odd, np.float32(0.8), np.float32(1.0))


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
