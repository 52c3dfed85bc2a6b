"""Pictures of a run, from the tiles that it renders and scores."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from miner.callbacks.base import Callback
from miner.comparison.runs import THUMBNAIL_SIDE
from miner.engine.data import RenderedTile
from miner.engine.scoring import ScoredModule
from miner.images.encode import PixelCanvas
from miner.representation import Representation
from miner.signals.regions import tiles
from miner.support.run_files import claim
from miner.visual import display, pictures
from miner.visual.display import Preview, RGBImage, reduce_to_side, to_display

_LOG = logging.getLogger("miner")
_LEVEL_SIDE = 1024  # pixels of a coarser level's preview, at most: there are many levels


def join(module: ScoredModule, previews: Sequence[Preview]) -> None:
    """Add the tiles of all ranks to the previews of rank 0."""
    for others in module.ranks.gather([one.sums for one in previews], for_all=False)[1:]:
        for preview, other in zip(previews, others, strict=True):
            preview.sums += other


class Reconstruction(Callback):
    """Writes `reconstruction.*`, with the values and channels of the image's file.

    Of an image of more than `max_pixels` a preview is written, at most 2048 pixels a side, in RGB;
    `python -m miner.render` writes all. A volume is written as `.npy`, (D, H, W, C).
    """

    files = ("reconstruction.*",)

    def __init__(self, dirpath: str | Path, max_pixels: int = 2**28) -> None:
        self._folder, self._max_pixels = Path(dirpath), max_pixels

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Allocate the pixels; those of several ranks are exchanged through files."""
        data = cast(ScoredModule, pl_module).data
        format, sides, is_image = data.source.format, data.spec.sides, len(data.spec.sides) == 2
        self._preview: Preview | None = None
        self._path = self._folder / f"reconstruction{format.suffix if is_image else '.npy'}"
        if math.prod(sides) > self._max_pixels and is_image:
            self._preview = Preview(sides, format.n_shown, mask=data.spec.mask)
            self._path = self._path.with_suffix(".png")
            return
        if trainer.world_size > 1:
            self._shared = data.levels.new_signal("rendered", 0)
        if trainer.is_global_zero:
            self._canvas = PixelCanvas(format, sides, data.scratch)

    def on_tile_end(self, trainer: pl.Trainer, module: ScoredModule, tile: RenderedTile) -> None:
        """Fill in a tile of the finest level."""
        if tile.level > 0:
            return
        if self._preview is not None:
            self._preview.add(tile.region, tile.preds)
        elif trainer.world_size > 1:
            self._shared.write(tile.region, tile.preds)
        else:
            self._canvas.fill(tile.region, tile.preds.numpy(), module.data.spec.valid(tile.region))

    def on_scored(self, trainer: pl.Trainer, module: ScoredModule) -> None:
        """Write the file."""
        if self._preview is not None:
            join(module, [self._preview])
        if not trainer.is_global_zero:
            return
        claim(self._folder, self._path.name)
        if self._preview is not None:
            display.write_picture(self._path, to_display(self._preview.pixels))
            _LOG.warning("%s is a preview at 1/%d of the size", self._path, self._preview.factor)
            return
        for region in tiles(self._shared.sides) if trainer.world_size > 1 else ():
            shared = self._shared.read(region).cpu().numpy()
            self._canvas.fill(region, shared, module.data.spec.valid(region))
        self._canvas.save(self._path)


class Pictures(Callback):
    """Writes `error.png`, `thumbnails/`, and `blocks.png` and `curves.png` where there are any.

    Of a volume nothing is drawn.
    """

    files = ("blocks.png", "error.png", "curves.png", "thumbnails")

    def __init__(self, dirpath: str | Path) -> None:
        self._folder = Path(dirpath)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the previews."""
        spec = cast(ScoredModule, pl_module).data.spec
        self._is_drawn = len(spec.sides) == 2
        if not self._is_drawn:
            return
        n_shown = spec.pixel_format.n_shown
        self._source, self._error = (Preview(spec.sides, n, mask=spec.mask) for n in (n_shown, 1))
        self._levels = [
            Preview(sides, n_shown, _LEVEL_SIDE if level else display.PREVIEW_SIDE, mask)
            for level, (sides, mask) in enumerate(zip(spec.level_sides, spec.masks, strict=True))
        ]

    def on_tile_end(self, trainer: pl.Trainer, module: ScoredModule, tile: RenderedTile) -> None:
        """Add a tile."""
        if not self._is_drawn:
            return
        self._levels[tile.level].add(tile.region, tile.preds)
        if tile.level == 0:
            self._source.add(tile.region, tile.target)
            error = (tile.target - tile.preds).square_().mean(0, keepdim=True)
            self._error.add(tile.region, error.nan_to_num_(nan=1))

    def on_scored(self, trainer: pl.Trainer, module: ScoredModule) -> None:
        """Draw and write."""
        if not self._is_drawn:
            return
        join(module, [self._source, self._error, *self._levels])
        if not trainer.is_global_zero:
            return
        folder, error, source = self._folder, self._error.pixels[0], self._source.pixels
        claim(folder, *self.files)
        pictures.draw_error(error, folder / "error.png", module.scores["psnr_db"])
        if "curve" in module.extra:
            pictures.draw_curves(module.extra["curve"], folder / "curves.png")
        drawn = {
            "reconstruction": to_display(self._levels[0].pixels),
            "error": pictures.error_picture(error, THUMBNAIL_SIDE),
        }
        if (representation := module.representation) is not None:
            widths = [_widths(representation, j) for j in range(representation.spec.n_levels)]
            side = representation.spec.patch_size / self._source.factor
            pictures.draw_blocks(source, widths, side, folder / "blocks.png")
            drawn["blocks"] = pictures.blocks_picture(source[0], widths, side)
        self._drawn = [name for name in drawn if name != "reconstruction"]
        (folder / "thumbnails").mkdir(exist_ok=True)
        for name, picture in drawn.items():
            path = folder / "thumbnails" / f"{name}.webp"
            display.write_picture(path, reduce_to_side(picture, THUMBNAIL_SIDE))

    def media(self, levels: Iterable[int]) -> Mapping[str, RGBImage]:
        """Pictures for loggers, once all were written, and a preview of each of some levels."""
        if not self._is_drawn:
            return {}
        found = {
            f"reconstruction/level_{level}": to_display(self._levels[level].pixels)
            for level in sorted({0, *levels})
        }
        for name in self._drawn:
            picture = cv2.imread(str(self._folder / f"{name}.png"), cv2.IMREAD_COLOR_RGB)
            found[name] = np.asarray(picture, dtype=np.uint8)
        return found


def _widths(representation: Representation, level: int) -> NDArray[np.int16]:
    """The widths of a level's networks; 0 where a block has none."""
    grid = representation.spec.grid(level)
    widths = np.zeros(grid.n_blocks, dtype=np.int16)
    for shard in representation.shards.get(level, ()):
        widths[shard.blocks.numpy()] = shard.widths.numpy()
    return widths.reshape(grid.counts)
