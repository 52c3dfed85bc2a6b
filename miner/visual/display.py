"""Pictures for people: RGB, previews of large images, legends, PNG files."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from miner.signals.mask import Mask
from miner.signals.regions import Region, whole
from miner.support.files import atomic_write

RGBImage = NDArray[np.uint8]  # `(H, W, 3)`
Picture = TypeVar("Picture", NDArray[np.uint8], NDArray[np.float32])

PREVIEW_SIDE = 2048  # pixels, at most
_MIN_SIDE = 1024  # pixels along the longer side of a picture that is shown on a screen
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# Okabe and Ito 2008, for all common colour-vision deficiencies; yellow vanishes on white.
_LEVEL_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#0072B2")


def level_colour(level: int) -> str:
    """The colour of a pyramid level as `#RRGGBB`: one of six, repeated from level 6 on."""
    return _LEVEL_COLOURS[level % len(_LEVEL_COLOURS)]


def describe_level(level: int) -> str:
    """Name a pyramid level and its resolution, 1/2^level."""
    return f"level {level} ({f'1/{2**level}' if level else 'full'} resolution)"


def to_display(image: NDArray[np.float32]) -> RGBImage:
    """Turn a `(C, H, W)` image into RGB of the same size, clipped to the unit range, NaN to white.

    One channel is grey, three or more are RGB. With two (grey, alpha) or four (RGB, alpha, not
    premultiplied) transparency shows a light checker.
    """
    n_channels, height, width = image.shape
    cell = max(1, max(height, width) // 64)
    rows, columns = np.arange(height)[:, None] // cell, np.arange(width) // cell
    checker = np.where((rows + columns) % 2 == 1, np.float32(0.8), np.float32(1.0))
    picture = np.empty((height, width, 3), dtype=np.uint8)
    for index in range(3):  # channel by channel: temporaries stay at a third of the image
        plane = np.nan_to_num(image[index if n_channels > 2 else 0], nan=1).clip(0, 1)
        if n_channels in (2, 4):
            alpha = np.nan_to_num(image[-1], nan=1).clip(0, 1)
            plane = plane * alpha + checker * (1 - alpha)
        picture[..., index] = np.rint(plane * 255).astype(np.uint8)
    return picture


def enlarge_to_screen(picture: Picture) -> Picture:
    """Enlarge `(H, W)` or `(H, W, 3)` by the least whole factor to 1024 pixels along a side."""
    factor = math.ceil(_MIN_SIDE / max(picture.shape[:2]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def reduce_to_side(picture: Picture, side: int) -> Picture:
    """Reduce `(H, W)` or `(H, W, 3)` by area means to at most `side` pixels; never enlarge."""
    longer = max(picture.shape[:2])
    if longer <= side:
        return picture
    height, width = (max(1, round(n * side / longer)) for n in picture.shape[:2])
    return cast(Picture, cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))


def with_legend(picture: RGBImage, rows: Sequence[tuple[RGBImage, str]]) -> RGBImage:
    """Add rows of ASCII text below a picture, on white, each after its colours `(1, n, 3)`."""
    height = max(_MIN_SIDE, *picture.shape[:2]) // 36
    margin, scale = height // 2, height / 42
    sizes = [cv2.getTextSize(text, _FONT, scale, 1)[0] for _, text in rows]
    bar_width = height * max(min(8, colours.shape[1]) for colours, _ in rows)
    text_left = bar_width + 2 * margin
    width = max(picture.shape[1], text_left + max(size[0] for size in sizes) + margin)
    legend = np.full((height * len(rows) + 2 * margin, width, 3), 255, dtype=np.uint8)
    for row, (colours, text) in enumerate(rows):
        middle = 2 * margin + row * height
        bar = cv2.resize(colours, (bar_width, margin), interpolation=cv2.INTER_NEAREST)
        legend[middle - margin // 2 :][:margin, margin : margin + bar_width] = bar
        base = (text_left, middle + sizes[row][1] // 2)
        cv2.putText(legend, text, base, _FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
    left = (width - picture.shape[1]) // 2
    sides = ((0, 0), (left, width - picture.shape[1] - left), (0, 0))
    return np.concatenate([np.pad(picture, sides, constant_values=255), legend])


def encoded(picture: RGBImage, suffix: str = ".png") -> bytes:
    """The bytes of a PNG or WebP file."""
    options = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]  # for enlarged pixels
    if suffix == ".webp":
        options = [cv2.IMWRITE_WEBP_QUALITY, 80]
    return cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def write_picture(path: Path, picture: RGBImage) -> None:
    """Write a PNG or WebP file, whole or not at all."""
    with atomic_write(path) as scratch:
        scratch.write_bytes(encoded(picture, path.suffix))


class Preview:
    """A picture `(C, h, w)` of area means, reduced by the least power of two that fits `side`.

    Of more than four channels the first three are kept. Those of several processes, each with some
    of the tiles, are joined by adding their `sums`. `mask` is that of the image's pixels.
    """

    def __init__(
        self,
        sides: tuple[int, ...],
        n_channels: int,
        side: int = PREVIEW_SIDE,
        mask: Mask | None = None,
    ) -> None:
        self.factor = 1
        while math.ceil(max(sides) / self.factor) > side:
            self.factor *= 2
        n_shown = n_channels if n_channels <= 4 else 3
        self._sides, self._mask = sides, mask
        shape = tuple(math.ceil(length / self.factor) for length in sides)
        self.sums: NDArray[np.float32] = np.zeros((n_shown, *shape), dtype=np.float32)

    def add(self, tile: Region, values: Tensor) -> None:
        """Add a tile `(C, H, W)` of the image."""
        factor = self.factor
        cells = tuple(slice(first // factor, -(-end // factor)) for first, end in tile)
        pads = [(first % factor, -end % factor) for first, end in tile]
        for sums, channel in zip(self.sums, values.numpy(), strict=False):
            padded = np.pad(channel, pads) if np.any(pads) else np.ascontiguousarray(channel)
            size = (padded.shape[1] // factor, padded.shape[0] // factor)
            sums[cells] += cv2.resize(padded, size, interpolation=cv2.INTER_AREA)

    @property
    def pixels(self) -> NDArray[np.float32]:
        """The means; at the far edges over the pixels that a cell has, NaN where none is data."""
        (height, width), (rows, columns) = self._sides, self.sums.shape[1:]
        down = np.minimum(1, height / self.factor - np.arange(rows))
        across = np.minimum(1, width / self.factor - np.arange(columns))
        means = (self.sums / np.outer(down, across)).astype(np.float32)
        if self._mask is not None:
            means[:, ~self._mask.reduced(self.factor).valid(whole((rows, columns)))] = np.nan
        return means
