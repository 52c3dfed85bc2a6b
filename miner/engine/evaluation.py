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
from miner.metrics.tile_metrics import TileMetrics, extended
from miner.representation import Representation
from miner.signals.regions import TILE_SIDE, Region, sides_of, tiles
from miner.signals.signal import CPU, Signal
from miner.visual import display, pictures
from miner.visual.display import Preview, reduce_to_side, shown_channels, to_display


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores by their names in the report, and previews: at most 2048 pixels along a side.

    `source` and `rendered` are `(C, h, w)`, with the channels that can be shown; `squared_error`
    is `(h, w)`, the mean over all channels.
    """

    scores: dict[str, Any]
    source: NDArray[np.float32]
    rendered: NDArray[np.float32]
    squared_error: NDArray[np.float32]


def evaluate(
    representation: Representation,
    source: Signal,
    on_tile: Callable[[Region, Tensor], None],
    device: torch.device = CPU,
    tile_side: int = TILE_SIDE,
) -> Evaluation:
    """Render level 0 of an image once, score it and make its previews.

    Rendering is plain PyTorch on the device, whatever backend has fitted. `on_tile` gets each tile,
    row-major, and its rendering, clipped: `(C, H, W)`.

    Raises:
        ValueError: the source has another shape than the representation.
    """
    spec = representation.spec
    if (source.n_channels, *source.sides) != (spec.n_channels, *spec.sides):
        raise ValueError(
            f"source {(source.n_channels, *source.sides)}: the representation is of an image "
            f"{(spec.n_channels, *spec.sides)}, give that one"
        )
    metrics = TileMetrics(spec.sides, spec.n_channels, spec.patch_size)
    n_shown = shown_channels(spec.n_channels)
    originals, renderings, errors = (Preview(spec.sides, n) for n in (n_shown, n_shown, 1))
    seconds = 0.0
    for tile in tiles(spec.sides, tile_side):
        around = extended(tile, spec.sides)
        began = time.perf_counter()
        rendered = representation.reconstruct(0, around, device).clamp_(0, 1).cpu()
        seconds += time.perf_counter() - began
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
        "render_time_s": seconds,
    }
    return Evaluation(scores, originals.pixels, renderings.pixels, errors.pixels[0])


def draw_pictures(
    folder: Path,
    evaluation: Evaluation,
    representation: Representation,
    curve: Mapping[str, Sequence[float]],
) -> None:
    """Write `blocks.png`, `error.png`, `curves.png`, and `thumbnails/` for comparisons.

    Thumbnails have one size and show the whole image. `curve` has the columns of a report's.
    """
    sides, levels = representation.spec.sides, range(representation.spec.n_levels)
    boxes = {level: _boxes(representation, level) for level in levels}
    pictures.draw_blocks(evaluation.source, boxes, folder / "blocks.png", sides)
    pictures.draw_error(
        evaluation.squared_error, folder / "error.png", evaluation.scores["psnr_db"]
    )
    pictures.draw_curves(curve, folder / "curves.png")
    source = reduce_to_side(to_display(evaluation.source), THUMBNAIL_SIDE)
    thumbnails = {
        "reconstruction": reduce_to_side(to_display(evaluation.rendered), THUMBNAIL_SIDE),
        "blocks": pictures.blocks_picture(source, boxes, sides),
        "error": pictures.error_picture(evaluation.squared_error, THUMBNAIL_SIDE),
    }
    (folder / "thumbnails").mkdir(exist_ok=True)
    for name, picture in thumbnails.items():
        path = folder / "thumbnails" / f"{name}.webp"
        display.write_picture(path, picture, [cv2.IMWRITE_WEBP_QUALITY, 80])


def _boxes(representation: Representation, level: int) -> NDArray[np.integer]:
    grid = representation.spec.grid(level)
    rows, columns = grid.positions(representation.active_blocks(level)).int().numpy().T
    side = grid.patch_size << level
    corners = np.stack([columns, rows], axis=1) * side
    return np.concatenate([corners, corners + side], axis=1)


def logged_pictures(
    folder: Path, evaluation: Evaluation, representation: Representation
) -> dict[str, display.RGBImage]:
    """Pictures for loggers: every level's reconstruction, and what `draw_pictures` has written.

    No picture of a level has more than 2048 pixels along a side.
    """
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
    preview = Preview(sides, shown_channels(representation.spec.n_channels))
    for tile in tiles(sides, tile_side):
        preview.add(tile, representation.reconstruct(level, tile).clamp_(0, 1))
    return preview.pixels
