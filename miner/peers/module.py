"""An image in memory and the module of a method that stores it in one file, for the trainer."""

import logging
import math
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from miner.engine.data import LazyBatches, Tile
from miner.engine.scoring import ScoredModule
from miner.images.pixel_format import PixelFormat
from miner.images.source_image import SourceImage
from miner.signals.grid import PatchGrid
from miner.signals.mask import Mask, Valid
from miner.signals.regions import TILE_SIDE, Region, extended, slices, tiles
from miner.signals.scratch import Scratch
from miner.support.communication import SINGLE_PROCESS
from miner.support.files import atomic_write

_LOG = logging.getLogger("miner")


@dataclass(frozen=True)
class Geometry:
    """An image as callbacks know it: one level without patches."""

    sides: tuple[int, ...]
    pixel_format: PixelFormat
    mask: Mask | None
    n_levels: int = 1

    @property
    def n_channels(self) -> int:
        """Channels C."""
        return self.pixel_format.channels

    @property
    def level_sides(self) -> tuple[tuple[int, ...], ...]:
        """The sides of the one level."""
        return (self.sides,)

    @property
    def masks(self) -> tuple[Mask | None, ...]:
        """The mask of the one level."""
        return (self.mask,)

    def valid(self, region: Region, level: int = 0) -> Valid | None:
        """Which pixels of a region are data, `(*S)`; None if all are."""
        return None if self.mask is None else self.mask.valid(region)

    def grid(self, level: int) -> PatchGrid:
        """One patch, which has no seams."""
        return PatchGrid(self.sides, max(self.sides))


class PeerData(pl.LightningDataModule):
    """An image in memory; the module gives the batches of its one epoch, and the `margin`."""

    def __init__(self, open_source: Callable[[], SourceImage], scratch: Scratch, seed: int) -> None:
        super().__init__()
        self.scratch, self.seed, self.ranks, self.margin = scratch, seed, SINGLE_PROCESS, 0
        self.batches: Callable[[], Iterator[Any]]
        self._open = open_source

    def setup(self, stage: str) -> None:
        """Open and read the image."""
        assert self.trainer is not None, "Lightning attaches the trainer before it calls hooks"
        self.source = source = self._open()
        self.spec = Geometry(source.sides, source.format, source.mask)
        self.image = torch.from_numpy(source.read())
        self.device = self.trainer.strategy.root_device

    def train_dataloader(self) -> Iterable[Any]:
        """The module's batches, whose number is unknown."""
        return LazyBatches(lambda: self.batches())

    def val_dataloader(self) -> Iterable[Any]:
        """The tiles that are scored."""
        return LazyBatches(self._tiles)

    def _tiles(self) -> Iterator[Tile]:
        for region in tiles(self.spec.sides, TILE_SIDE):
            box = extended(region, self.spec.sides, self.margin)
            yield Tile(region, box, self.image[(slice(None), *slices(box))])


@dataclass
class _Work:
    """What a bar of progress shows of a training, in thousandths."""

    level: int = 0
    n_steps: int = 1000
    n_refit_steps: int = 0
    block_mse: float = math.nan
    chunks: list[list[int]] = field(default_factory=lambda: [[0]])


class PeerModule(ScoredModule):
    """Trains or encodes, stores the result as one file, and renders what that file holds.

    `of_run` are the arguments of `ScoredModule`.
    """

    file_name = "stored"

    def __init__(self, *of_run: Any) -> None:
        super().__init__(*of_run)
        self._stored = b""

    @property
    def file_bytes(self) -> int | None:
        """Size of the file; None where there is none."""
        return None if self.folder is None else len(self._stored)

    @abstractmethod
    def batches(self) -> Iterator[Any]:
        """What `training_step` is given."""

    @abstractmethod
    def result(self) -> bytes:
        """The content of the file."""

    @abstractmethod
    def restore(self, content: bytes) -> None:
        """Take what is rendered from the content of the file."""

    @abstractmethod
    def render(self, box: Region) -> Tensor:
        """The values in a box, `(C, *S)`."""

    def setup(self, stage: str) -> None:
        """Say what is fitted: the image is open."""
        data = self.data
        data.batches = self.batches
        understood = data.source.format.describe(data.spec.sides, data.spec.mask)
        _LOG.info("%s: %s on %s", data.source.name, understood, data.device)

    def on_train_start(self) -> None:
        """Start the clock: the image is read."""
        self._start_scores()
        self.data.margin = self._evaluation.reach
        self._work, self._n_shown, self._start = _Work(), 0, time.perf_counter()
        self.call("on_level_start", self._work, [0])

    def on_validation_start(self) -> None:
        """Store the result, and take what is rendered from there."""
        self._stored = self.result()
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.folder / self.file_name) as scratch:
                scratch.write_bytes(self._stored)
            self.extra["file"] = f"{self.folder.name}/{self.file_name}"
        self.fit_time_s = self.seconds
        self.restore(self._stored)

    def validation_step(self, tile: Tile, batch_idx: int) -> None:
        """Render and score a tile."""
        began = time.perf_counter()
        preds = self.render(tile.box).clamp(0, 1).cpu()
        self._render_time_s += time.perf_counter() - began
        self._score(tile, preds)

    def on_validation_epoch_end(self) -> None:
        """Finish the scores."""
        self.is_complete = True
        self._finish_scores()
        self._log_scores()

    def on_fit_end(self) -> None:
        """Let callbacks write."""
        self.call("on_scored")

    def show(self, progress: float, mse: float) -> None:
        """Let a bar show the part that is done, and the error."""
        n_shown = round(self._work.n_steps * progress)
        self._work.block_mse = mse
        self.call("on_block_steps", n_shown - self._n_shown)
        self._n_shown = n_shown

    @property
    def seconds(self) -> float:
        """Of the fit so far."""
        return time.perf_counter() - self._start
