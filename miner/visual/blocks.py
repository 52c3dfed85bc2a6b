"""The picture of the blocks that each pyramid level needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from miner.visual.display import (
    RGBImage,
    describe_level,
    enlarge_to_screen,
    level_colour,
    to_display,
    with_legend,
    write_picture,
)

Boxes = NDArray[np.integer]
"""`(n, 4)`: x0, y0, x1, y1 in full-resolution pixels, ends exclusive; the image cuts them."""

_BOXES_AT_ONCE = 2**16
_SIDE_PER_LINE = 340  # a picture of so many pixels has outlines of one


def draw_blocks(
    image: NDArray[np.float32], levels: Mapping[int, Boxes], path: Path, sides: Sequence[int]
) -> None:
    """Draw which blocks each level needed over the dimmed image, as in the MINER paper.

    After figure 4 of arXiv 2202.03532. Takes a `(C, H, W)` image of `sides` in the unit range, or a
    preview of it.
    """
    picture = blocks_picture(enlarge_to_screen(to_display(image)), levels, sides)
    rows = []
    for level in sorted(levels, reverse=True):
        count = len(levels[level])
        text = f"{describe_level(level)}: {count:,} block{'' if count == 1 else 's'}"
        rows.append((np.array([[_rgb(level)]], dtype=np.uint8), text))
    write_picture(path, with_legend(picture, rows))


def blocks_picture(
    picture: RGBImage, levels: Mapping[int, Boxes], sides: Sequence[int]
) -> RGBImage:
    """Dim a picture of an image of `sides` (H, W) and outline in it the blocks of each level.

    Outlines are drawn inside their block, and each level is inset by the width of all coarser
    ones: as borders of coarse blocks are borders of fine ones too, no outline covers another.
    """
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    canvas = cv2.addWeighted(picture, 0.2, grey, 0.3, 0).astype(np.uint8)
    height, width = canvas.shape[:2]
    scale = np.array([width / sides[1], height / sides[0]] * 2)
    placed = {
        level: np.rint(levels[level] * scale).astype(np.int32).clip(0, [width, height] * 2)
        for level in sorted(levels, reverse=True)
    }
    largest = [int((b[:, 2:] - b[:, :2]).max()) for b in placed.values() if len(b)]
    fitting = min(largest, default=0) // (4 * len(placed) or 1)
    line = max(1, min(max(height, width) // _SIDE_PER_LINE, fitting))
    for rank, (level, boxes) in enumerate(placed.items()):
        for part in np.array_split(boxes, len(boxes) // _BOXES_AT_ONCE + 1):
            _outline(canvas, part, rank * line, line, _rgb(level))
    return canvas


def _outline(
    canvas: RGBImage, boxes: Boxes, inset: int, line: int, colour: tuple[int, ...]
) -> None:
    """Outline boxes of the canvas; small boxes have a smaller inset."""
    sides = boxes[:, 2:] - boxes[:, :2]
    start = np.minimum(inset, (sides.min(axis=1, keepdims=True, initial=2**30) - 1) // 3)
    for ring in range(line):
        low, high = boxes[:, :2] + start + ring, boxes[:, 2:] - start - ring - 1
        is_visible = (low <= high).all(axis=1)
        x0, y0, x1, y1 = *low[is_visible].T, *high[is_visible].T
        corners = np.stack([x0, y0, x1, y0, x1, y1, x0, y1], axis=1).reshape(-1, 4, 2)
        cv2.polylines(canvas, list(corners), isClosed=True, color=colour)


def _rgb(level: int) -> tuple[int, ...]:
    return tuple(bytes.fromhex(level_colour(level)[1:]))
