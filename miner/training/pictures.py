"""The pictures of a run, in its folder and for its loggers."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from miner.evaluation.figures import (
    LevelBlocks,
    LevelCurve,
    draw_blocks,
    draw_curves,
    draw_error,
    to_display,
)
from miner.evaluation.scores import Scores
from miner.representation import MinerRepresentation
from miner.training.loggers import Picture
from miner.training.records import CurvePoint

Pixels = NDArray[np.float32]


def draw_pictures(
    folder: Path,
    source: Pixels,
    representation: MinerRepresentation,
    rendered: Pixels,
    scores: Scores,
    curve: Sequence[CurvePoint],
) -> None:
    """Write `blocks.png`, `error.png` and `curves.png`."""
    levels = range(representation.spec.n_levels)
    draw_blocks(source, [_blocks(representation, level) for level in levels], folder / "blocks.png")
    draw_error(source, rendered, folder / "error.png", scores.psnr_db)
    draw_curves([_curve(curve, level) for level in levels], folder / "curves.png")


def logged_pictures(folder: Path, representation: MinerRepresentation) -> dict[str, Picture]:
    """Pictures for loggers, `(H, W, 3)` uint8: every level's reconstruction, blocks and error."""
    pictures = {
        f"reconstruction/level_{level}": to_display(representation.render(level))
        for level in range(representation.spec.n_levels)
    }
    for name in ("blocks", "error"):
        picture = cv2.imread(str(folder / f"{name}.png"), cv2.IMREAD_COLOR_RGB)
        pictures[name] = np.asarray(picture, dtype=np.uint8)
    return pictures


def _blocks(representation: MinerRepresentation, level: int) -> LevelBlocks:
    grid = representation.spec.grid(level)
    rows, columns = grid.positions(representation.active_blocks(level)).numpy().T
    side = grid.patch_size << level
    corners = np.stack([columns, rows], axis=1) * side
    return LevelBlocks(level, np.concatenate([corners, corners + side], axis=1))


def _curve(curve: Sequence[CurvePoint], level: int) -> LevelCurve:
    points = [point for point in curve if point.level == level]
    return LevelCurve(
        level=level,
        step=np.array([point.step for point in points]),
        seconds=np.array([point.seconds for point in points]),
        parameters=np.array([point.parameters for point in points]),
        psnr_db=np.array([point.psnr_db for point in points]),
    )
