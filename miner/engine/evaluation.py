"""Scores and pictures of a finished fit, from one pass over the image."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miner.comparison.runs import THUMBNAIL_SIDE
from miner.metrics.scores import TileMetrics, extended
from miner.representation import Representation
from miner.signals.regions import TILE_SIDE, Region, sides_of, tiles
from miner.signals.signal import CPU, Signal
from miner.visual import display, pictures
from miner.visual.display import Preview, reduce_to_side, to_display


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores by their names in the report, and previews; errors are means over channels."""

    scores: dict[str, Any]
    source: NDArray[np.float32]  # (C, h, w)
    rendered: NDArray[np.float32]  # (C, h, w)
    squared_error: NDArray[np.float32]  # (h, w)


def evaluate(
    representation: Representation,
    source: Signal,
    on_tile: Callable[[Region, Tensor], None],
    device: torch.device = CPU,
    tile_side: int = TILE_SIDE,
) -> Evaluation:
    """Render level 0 of an image once, in plain PyTorch, score it and make its previews.

    `on_tile` gets each tile, row-major, and its rendering, clipped: `(C, H, W)`. Raises
    `ValueError` if the source has another shape than the representation.
    """
    spec = representation.spec
    given, expected = (source.n_channels, *source.sides), (spec.n_channels, *spec.sides)
    if given != expected:
        raise ValueError(f"source {given}: the representation is of an image {expected}")
    metrics = TileMetrics(spec.sides, spec.n_channels, spec.patch_size)
    originals, renderings = (Preview(spec.sides, spec.n_channels) for _ in range(2))
    errors = Preview(spec.sides, 1)
    render_time_s = 0.0
    for tile in tiles(spec.sides, tile_side):
        around = extended(tile, spec.sides)
        began = time.perf_counter()
        rendered = representation.reconstruct(0, around, device).clamp_(0, 1).cpu()
        render_time_s += time.perf_counter() - began
        original = source.read(around)
        errors.add(tile, metrics.add(tile, original, rendered)[None] / spec.n_channels)
        inner = (slice(None), *map(slice, sides_of(tile)))
        on_tile(tile, rendered[inner])
        originals.add(tile, original[inner])
        renderings.add(tile, rendered[inner])
    scores = {
        "psnr_db": metrics.psnr_db,
        "ssim": metrics.ssim,
        "seam_ratio": metrics.seam_ratio,
        "render_time_s": render_time_s,
    }
    return Evaluation(scores, originals.pixels, renderings.pixels, errors.pixels[0])


def draw_pictures(
    folder: Path,
    evaluation: Evaluation,
    representation: Representation,
    curve: Mapping[str, Sequence[float]],
) -> None:
    """Write `blocks.png`, `error.png`, `curves.png` of a report's curve, and `thumbnails/`."""
    spec, error = representation.spec, evaluation.squared_error
    boxes = {level: _boxes(representation, level) for level in range(spec.n_levels)}
    pictures.draw_blocks(evaluation.source, boxes, folder / "blocks.png", spec.sides)
    pictures.draw_error(error, folder / "error.png", evaluation.scores["psnr_db"])
    pictures.draw_curves(curve, folder / "curves.png")
    source = reduce_to_side(to_display(evaluation.source), THUMBNAIL_SIDE)
    thumbnails = {
        "reconstruction": reduce_to_side(to_display(evaluation.rendered), THUMBNAIL_SIDE),
        "blocks": pictures.blocks_picture(source, boxes, spec.sides),
        "error": pictures.error_picture(error, THUMBNAIL_SIDE),
    }
    (folder / "thumbnails").mkdir(exist_ok=True)
    for name, picture in thumbnails.items():
        display.write_picture(folder / "thumbnails" / f"{name}.webp", picture)


def _boxes(representation: Representation, level: int) -> NDArray[np.integer]:
    grid = representation.spec.grid(level)
    rows, columns = grid.positions(representation.active_blocks(level)).int().numpy().T
    side = grid.patch_size << level
    corners = np.stack([columns, rows], axis=1) * side
    return np.concatenate([corners, corners + side], axis=1)


def logged_pictures(
    folder: Path, evaluation: Evaluation, representation: Representation
) -> dict[str, display.RGBImage]:
    """Pictures for loggers: every level's preview, and what `draw_pictures` has written."""
    found = {"reconstruction/level_0": to_display(evaluation.rendered)}
    for level in range(1, representation.spec.n_levels):
        found[f"reconstruction/level_{level}"] = to_display(level_preview(representation, level))
    for name in ("blocks", "error"):
        picture = cv2.imread(str(folder / f"{name}.png"), cv2.IMREAD_COLOR_RGB)
        found[name] = np.asarray(picture, dtype=np.uint8)
    return found


def level_preview(
    representation: Representation, level: int, tile_side: int = TILE_SIDE
) -> NDArray[np.float32]:
    """A preview of a level, `(C, h, w)` in the unit range, rendered tile by tile."""
    sides = representation.spec.level_sides[level]
    preview = Preview(sides, representation.spec.n_channels)
    for tile in tiles(sides, tile_side):
        preview.add(tile, representation.reconstruct(level, tile).clamp_(0, 1))
    return preview.pixels
