"""Hooks of levels and chunks beside Lightning's, and the callback that stores each chunk."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytorch_lightning as pl

from miner.engine.data import RenderedTile
from miner.engine.module import LevelResult, MinerModule
from miner.engine.records import CurvePoint
from miner.engine.scoring import ScoredModule
from miner.fitting.level_fit import LevelFit
from miner.representation import REPRESENTATION_FOLDER, Shard
from miner.representation.files import OVERVIEW_LEVEL, can_have_overview
from miner.representation.spec import OVERVIEW
from miner.representation.store import FolderStore
from miner.support.errors import ConfigError
from miner.support.run_files import claim


class Callback(pl.Callback):
    """A callback of a run; any Lightning callback with such a method gets the calls, too.

    What it has in `files` are names in the run's folder, its `dirpath`, that only a run may make.

    `on_level_start` follows Lightning's `on_train_epoch_start`, chunks are within its batch, and
    `on_level_end` is in its `on_validation_epoch_end`; each rank gets calls for its own chunks.
    """

    def on_level_start(
        self, trainer: pl.Trainer, module: MinerModule, fit: LevelFit, chunks: Sequence[int]
    ) -> None:
        """A level begins, of which this rank fits some chunks."""

    def on_block_steps(self, trainer: pl.Trainer, module: MinerModule, n_block_steps: int) -> None:
        """So many steps of single blocks were done or spared."""

    def on_chunk_end(self, trainer: pl.Trainer, module: MinerModule, shard: Shard) -> None:
        """A chunk is fitted and stored."""

    def on_tile_end(self, trainer: pl.Trainer, module: ScoredModule, tile: RenderedTile) -> None:
        """A tile of this rank is rendered as stored; another thread calls this."""

    def on_level_end(self, trainer: pl.Trainer, module: MinerModule, result: LevelResult) -> None:
        """A level is fitted, stored and rendered."""

    def on_points(
        self, trainer: pl.Trainer, module: ScoredModule, points: Sequence[CurvePoint]
    ) -> None:
        """The curve of quality goes on; of blocks, `QualityCurve` finds its points itself."""

    def on_scored(self, trainer: pl.Trainer, module: ScoredModule) -> None:
        """All is stored and scored, and may be written; each rank gets the call."""


class RepresentationCheckpoint(Callback):
    """Stores each chunk in `representation/` below `dirpath` as soon as it is fitted.

    Without it shards stay in memory, so that a run cannot be resumed; images that are larger than
    memory, and several ranks, need it. Images of more than `overview_pixels` have an overview.
    """

    files = (REPRESENTATION_FOLDER, f"{REPRESENTATION_FOLDER}/{OVERVIEW}")

    def __init__(self, dirpath: str | Path, overview_pixels: int = 2**24) -> None:
        if type(overview_pixels) is not int or overview_pixels < 0:
            rule = "must be a whole number of at least 0"
            raise ConfigError(f"callbacks.checkpoint.overview_pixels={overview_pixels!r}: {rule}")
        self.folder, self._overview_pixels = Path(dirpath) / REPRESENTATION_FOLDER, overview_pixels

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the module the folder."""
        if trainer.is_global_zero:
            claim(self.folder.parent, *self.files)
        cast(ScoredModule, pl_module).folder = self.folder

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prepare the overview of a representation by blocks."""
        if not isinstance(pl_module, MinerModule):
            return
        spec, levels = (data := pl_module.data).spec, data.levels
        if math.prod(spec.sides) > self._overview_pixels and can_have_overview(spec):
            levels.overview = levels.new_signal("overview", OVERVIEW_LEVEL)

    def on_level_end(self, trainer: pl.Trainer, module: MinerModule, result: LevelResult) -> None:
        """Store the overview, once all is fitted."""
        if module.is_complete and (overview := module.data.levels.overview) is not None:
            cast(FolderStore, module.store).add_overview(overview)
