"""The pictures of a run, in its folder and for its loggers."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from miner.comparison.runs import THUMBNAIL_SIDE
from miner.engine.evaluation import Evaluation, level_preview
from miner.engine.records import CurvePoint
from miner.loggers.base import RGBImage
from miner.representation import Representation
from miner.support.files import atomic_write
from miner.visual.blocks import LevelBlocks, blocks_picture, draw_blocks
from miner.visual.display import reduce_to_side, to_display
from miner.visual.plots import LevelCurve, draw_curves, draw_error, error_picture


def draw_pictures(
    folder: Path,
    evaluation: Evaluation,
    representation: Representation,
    curve: Sequence[CurvePoint],
) -> None:
    """Write `blocks.png`, `error.png` and `curves.png`."""
    levels = range(representation.spec.n_levels)
    blocks = [_blocks(representation, level) for level in levels]
    draw_blocks(evaluation.source, blocks, folder / "blocks.png", evaluation.sides)
    draw_error(evaluation.squared_error, folder / "error.png", evaluation.scores.psnr_db)
    draw_curves([_curve(curve, level) for level in levels], folder / "curves.png")


def draw_thumbnails(folder: Path, evaluation: Evaluation, representation: Representation) -> None:
    """Write `thumbnails/` for comparisons: three pictures of one size, each the whole image."""
    levels = [_blocks(representation, level) for level in range(representation.spec.n_levels)]
    dimmed = reduce_to_side(to_display(evaluation.source), THUMBNAIL_SIDE)
    pictures = {
        "reconstruction": reduce_to_side(to_display(evaluation.rendered), THUMBNAIL_SIDE),
        "blocks": blocks_picture(dimmed, levels, evaluation.sides),
        "error": error_picture(evaluation.squared_error, THUMBNAIL_SIDE),
    }
    (folder / "thumbnails").mkdir(exist_ok=True)
    for name, picture in pictures.items():
        encoded = cv2.imencode(".webp", picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 80])[1]
        with atomic_write(folder / "thumbnails" / f"{name}.webp") as scratch:
            scratch.write_bytes(encoded.tobytes())


def logged_pictures(
    folder: Path, evaluation: Evaluation, representation: Representation
) -> dict[str, RGBImage]:
    """Pictures for loggers, `(H, W, 3)` uint8: every level's reconstruction, blocks and error.

    No picture of a level has more than 2048 pixels along a side.
    """
    pictures = {"reconstruction/level_0": to_display(evaluation.rendered)}
    for level in range(1, representation.spec.n_levels):
        preview = level_preview(representation, level)
        pictures[f"reconstruction/level_{level}"] = to_display(preview)
    for name in ("blocks", "error"):
        picture = cv2.imread(str(folder / f"{name}.png"), cv2.IMREAD_COLOR_RGB)
        pictures[name] = np.asarray(picture, dtype=np.uint8)
    return pictures


def _blocks(representation: Representation, level: int) -> LevelBlocks:
    grid = representation.spec.grid(level)
    rows, columns = grid.positions(representation.active_blocks(level)).int().numpy().T
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
