"""The figure of the blocks that each pyramid level needed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from miner.visual.display import (
    LEGEND_ROW_INCHES,
    describe_level,
    enlarge_to_screen,
    level_colour,
    picture_figure,
    save_png,
    to_display,
)

_LEGEND_ENTRY_INCHES = 3.3


_BOXES_AT_ONCE = 2**16


_SIDE_PER_LINE = 340  # a picture of so many pixels has outlines of one


@dataclass(frozen=True)
class LevelBlocks:
    """The active blocks of one pyramid level; level 0 is full resolution.

    `boxes` is `(n, 4)`: x0, y0, x1, y1 in full-resolution pixels, ends exclusive. Boxes may
    reach over the image, which cuts them. Raises `ValueError` for another shape.
    """

    level: int
    boxes: NDArray[np.integer]

    def __post_init__(self) -> None:
        if self.boxes.ndim != 2 or self.boxes.shape[1] != 4:
            raise ValueError(f"boxes of shape {self.boxes.shape}: expected (n, 4)")


def draw_blocks(
    image: NDArray[np.float32], levels: Sequence[LevelBlocks], path: Path, sides: Sequence[int]
) -> None:
    """Draw which blocks each level needed over the dimmed image, as in the MINER paper.

    After figure 4 of arXiv 2202.03532. Takes a `(C, H, W)` image of `sides` in the unit range, or a
    preview of it. Outlines lie inside their block and those of finer levels inside those of
    coarser ones.
    """
    from matplotlib.patches import Patch

    ordered = _coarse_to_fine(levels)
    canvas = blocks_picture(enlarge_to_screen(to_display(image)), levels, sides)
    width_inches = 10 * canvas.shape[1] / max(canvas.shape[:2])
    n_rows = math.ceil(len(ordered) / max(1, int(width_inches / _LEGEND_ENTRY_INCHES)))
    n_columns = math.ceil(len(ordered) / max(1, n_rows))  # even rows: 2 + 2 rather than 3 + 1
    figure = picture_figure(
        canvas,
        head_inches=0.15,
        foot_inches=0.2 + n_rows * LEGEND_ROW_INCHES,
        min_width_inches=_LEGEND_ENTRY_INCHES,
    )
    handles = [Patch(color=level_colour(b.level), label=_describe_blocks(b)) for b in ordered]
    figure.legend(handles=handles, loc="lower center", ncols=max(1, n_columns), frameon=False)
    save_png(figure, path)


def blocks_picture(
    picture: NDArray[np.uint8], levels: Sequence[LevelBlocks], shape: Sequence[int]
) -> NDArray[np.uint8]:
    """Dim a picture `(H, W, 3)` of an image of `shape` (H, W) and outline its blocks in it."""
    canvas = _dim(picture)
    _outline_levels(canvas, _coarse_to_fine(levels), shape)
    return canvas


def _coarse_to_fine(levels: Sequence[LevelBlocks]) -> list[LevelBlocks]:
    return sorted(levels, key=lambda blocks: blocks.level, reverse=True)


def _dim(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Darken and grey (H, W, 3), so that outlines stand out; gives a copy."""
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(picture, 0.2, grey, 0.3, 0).astype(np.uint8)


def _outline_levels(
    canvas: NDArray[np.uint8], ordered: Sequence[LevelBlocks], shape: Sequence[int]
) -> None:
    """Outline into `canvas` the blocks of an image of `shape` (H, W), coarse to fine.

    Each level is inset by the width of all coarser ones: as borders of coarse blocks are
    borders of fine ones too, no outline then covers another.
    """
    height, width = canvas.shape[:2]
    scale = np.array([width / shape[1], height / shape[0]] * 2)
    end = np.array([width, height] * 2)
    sides = [
        max(int((corners[:, 2:] - corners[:, :2]).max()) for corners in _placed(blocks, scale, end))
        for blocks in ordered
        if len(blocks.boxes)
    ]
    most = max(1, max(height, width) // _SIDE_PER_LINE)
    line = min(most, max(1, min(sides, default=0) // (4 * len(ordered) or 1)))
    for rank, blocks in enumerate(ordered):
        colour = _rgb(level_colour(blocks.level))
        for corners in _placed(blocks, scale, end):
            _outline(canvas, corners, rank * line, line, colour)


def _placed(
    blocks: LevelBlocks, scale: NDArray[np.floating], end: NDArray[np.integer]
) -> Iterator[NDArray[np.integer]]:
    """Boxes `(n, 4)` in pixels of the canvas, some thousands at a time."""
    for first in range(0, len(blocks.boxes), _BOXES_AT_ONCE):
        boxes = blocks.boxes[first : first + _BOXES_AT_ONCE]
        yield np.rint(boxes * scale).astype(int).clip(0, end)


def _outline(
    canvas: NDArray[np.uint8],
    boxes: NDArray[np.integer],
    inset: int,
    line: int,
    colour: tuple[int, int, int],
) -> None:
    """Outline boxes `(n, 4)` within the canvas, those of one size at once: there are millions."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    pixels = canvas.reshape(-1, 3)
    for width, height in np.unique(sizes[(sizes > 0).all(axis=1)], axis=0).tolist():
        alike = boxes[(sizes == (width, height)).all(axis=1)]
        start = min(inset, (min(width, height) - 1) // 3)
        ring = np.zeros((height, width), dtype=bool)
        ring[start : height - start, start : width - start] = True
        end = start + line
        ring[end : height - end, end : width - end] = False
        rows, columns = np.nonzero(ring)
        corners = alike[:, 1] * canvas.shape[1] + alike[:, 0]
        pixels[corners[:, None] + (rows * canvas.shape[1] + columns)] = colour


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def _describe_blocks(blocks: LevelBlocks) -> str:
    count = len(blocks.boxes)
    return f"{describe_level(blocks.level)} · {count:,} block{'' if count == 1 else 's'}"
