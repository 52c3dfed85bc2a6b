"""Pictures of a run, all from one pass over the test tiles."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from miner.callbacks.base import Callback
from miner.comparison.runs import THUMBNAIL_SIDE
from miner.engine.module import MinerModule
from miner.images import PixelCanvas
from miner.representation import Representation
from miner.signals.regions import TILE_SIDE, tiles
from miner.visual import display, pictures
from miner.visual.display import Preview, RGBImage, reduce_to_side, to_display

_LOG = logging.getLogger("miner")


class Reconstruction(Callback):
    """Writes `reconstruction.*`, with the values and channels of the image's file.

    Of an image of more than `max_pixels` a preview is written, at most 2048 pixels a side, in RGB;
    `python -m miner.render` writes all.
    """

    def __init__(self, dirpath: str | Path, max_pixels: int = 2**28) -> None:
        self._folder, self._max_pixels = Path(dirpath), max_pixels

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Allocate the pixels."""
        data = cast(MinerModule, pl_module).data
        self._format, (height, width) = data.source.pixel_format, data.spec.sides
        self._preview = None
        if height * width > self._max_pixels:
            self._preview = Preview(data.spec.sides, data.spec.n_channels)
        else:
            self._canvas = PixelCanvas(self._format, height, width, data.scratch)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *batch: Any
    ) -> None:
        """Fill in a tile."""
        if self._preview is not None:
            self._preview.add(outputs["region"], outputs["preds"])
        else:
            self._canvas.fill(outputs["region"], outputs["preds"].numpy())

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file."""
        if self._preview is not None:
            path = self._folder / "reconstruction.png"
            display.write_picture(path, to_display(self._preview.pixels))
            _LOG.warning("%s is a preview at 1/%d of the size", path, self._preview.factor)
        else:
            self._canvas.save(self._folder / f"reconstruction{self._format.suffix}")


class Pictures(Callback):
    """Writes `blocks.png`, `error.png`, `curves.png` (if there is a curve) and `thumbnails/`."""

    def __init__(self, dirpath: str | Path) -> None:
        self._folder = Path(dirpath)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the previews."""
        spec = cast(MinerModule, pl_module).data.spec
        self._source, self._rendered = (Preview(spec.sides, spec.n_channels) for _ in range(2))
        self._error = Preview(spec.sides, 1)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *batch: Any
    ) -> None:
        """Add a tile."""
        region, target = outputs["region"], outputs["target"]
        self._source.add(region, target)
        self._rendered.add(region, outputs["preds"])
        self._error.add(region, outputs["squared_error"][None] / len(target))

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw and write."""
        module, folder = cast(MinerModule, pl_module), self._folder
        representation, error = module.representation, self._error.pixels[0]
        spec = representation.spec
        boxes = {level: _boxes(representation, level) for level in range(spec.n_levels)}
        pictures.draw_blocks(self._source.pixels, boxes, folder / "blocks.png", spec.sides)
        pictures.draw_error(error, folder / "error.png", module.scores["psnr_db"])
        if "curve" in module.extra:
            pictures.draw_curves(module.extra["curve"], folder / "curves.png")
        source = reduce_to_side(to_display(self._source.pixels), THUMBNAIL_SIDE)
        thumbnails = {
            "reconstruction": reduce_to_side(to_display(self._rendered.pixels), THUMBNAIL_SIDE),
            "blocks": pictures.blocks_picture(source, boxes, spec.sides),
            "error": pictures.error_picture(error, THUMBNAIL_SIDE),
        }
        (folder / "thumbnails").mkdir(exist_ok=True)
        for name, picture in thumbnails.items():
            display.write_picture(folder / "thumbnails" / f"{name}.webp", picture)

    def media(self, representation: Representation) -> Mapping[str, RGBImage]:
        """Pictures for loggers, once all were written, and a preview of every level."""
        found = {"reconstruction/level_0": to_display(self._rendered.pixels)}
        for level in range(1, representation.spec.n_levels):
            preview = to_display(level_preview(representation, level))
            found[f"reconstruction/level_{level}"] = preview
        for name in ("blocks", "error"):
            picture = cv2.imread(str(self._folder / f"{name}.png"), cv2.IMREAD_COLOR_RGB)
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


def _boxes(representation: Representation, level: int) -> NDArray[np.integer]:
    grid = representation.spec.grid(level)
    rows, columns = grid.positions(representation.active_blocks(level)).int().numpy().T
    side = grid.patch_size << level
    corners = np.stack([columns, rows], axis=1) * side
    return np.concatenate([corners, corners + side], axis=1)
