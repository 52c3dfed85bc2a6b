"""Shards and the manifest in a folder, from which a run is resumed."""

from pathlib import Path
from typing import cast

import pytorch_lightning as pl

from miner.callbacks.base import Callback
from miner.engine.module import MinerModule
from miner.representation import REPRESENTATION_FOLDER


class RepresentationCheckpoint(Callback):
    """Stores each chunk in `representation/` below `dirpath` as soon as it is fitted.

    Without it shards stay in memory, so that a run cannot be resumed; images that are larger than
    memory, and several ranks, need it.
    """

    def __init__(self, dirpath: str | Path) -> None:
        self.folder = Path(dirpath) / REPRESENTATION_FOLDER

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the module the folder."""
        cast(MinerModule, pl_module).folder = self.folder
