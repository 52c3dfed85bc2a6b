"""An image and its pyramid as a Lightning data module: an epoch is a level."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from torch import Tensor

from miner.engine.ranks import Ranks
from miner.fitting.pyramid_fit import PyramidFit, make_spec, prepare_backend
from miner.fitting.settings import FitSettings
from miner.images.source_image import SourceImage
from miner.signals.regions import Region
from miner.signals.scratch import Scratch
from miner.signals.signal import SourceSignal
from miner.signals.store import LocalSignalStore, SharedSignalStore, SignalStore
from miner.support.communication import SINGLE_PROCESS, Communicator


class Tile(NamedTuple):
    """A validation batch: a region, a box that holds it, and the signal `(C, *S)` there.

    Of the finest level, the box has the pixels around the region that scores need.
    """

    region: Region
    box: Region
    values: Tensor


class RenderedTile(NamedTuple):
    """A tile of a level: its region, and what it was and is rendered as, `(C, *S)` in [0, 1]."""

    level: int
    region: Region
    target: Tensor
    preds: Tensor


@dataclass(frozen=True)
class LazyBatches:
    """Batches that are found when the first one is asked for; their number is unknown before."""

    find: Callable[[], Iterable[Any]]

    def __iter__(self) -> Iterator[Any]:
        yield from self.find()


class SignalData(pl.LightningDataModule):
    """Opens an image, builds its pyramid, and gives the tiles of one level after another.

    `MinerModule` sets `margin`, the pixels after a tile that scores need. `folder` is the run's,
    `shared_folder` that of files which several ranks exchange.
    """

    def __init__(
        self,
        open_image: Callable[[], SourceImage],
        settings: FitSettings,
        scratch: Scratch,
        folder: Path = Path(),
        shared_folder: Path = Path(),
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.settings, self.scratch, self.margin = settings, scratch, 0
        self.ranks: Communicator = SINGLE_PROCESS
        self._open, self._folder, self._shared_folder = open_image, folder, shared_folder

    @property
    def seed(self) -> int:
        """What determines the random draws."""
        return self.settings.seed

    def setup(self, stage: str) -> None:
        """Connect the ranks, open the image and prepare the backend."""
        if stage != "fit":
            return
        assert self.trainer is not None, "Lightning attaches the trainer before it calls hooks"
        if self.trainer.world_size > 1:
            self.ranks = Ranks(self._folder, self.trainer)
        self.source = source = self._open()
        self.signal = SourceSignal(source.read, source.n_channels, source.sides)
        self.spec = replace(make_spec(source.sides, source.format, self.settings), mask=source.mask)
        self.device = self.trainer.strategy.root_device
        self.settings = prepare_backend(self.settings, self.spec, self.device)
        self.trainer.fit_loop.max_epochs = self.spec.n_levels

    def train_dataloader(self) -> Iterable[int]:
        """Build the pyramid; an epoch has one batch on every rank, all that it fits of a level.

        Lightning broadcasts at every batch, so that ranks with different numbers of batches would
        wait for each other for ever.
        """
        store: SignalStore = LocalSignalStore(self.device, self.scratch)
        if self.ranks.world_size > 1:
            store = SharedSignalStore(self.device, self._shared_folder, self.ranks.rank == 0)
        self.levels = PyramidFit(self.signal, self.spec, self.settings, store, self.ranks)
        return range(1)

    def val_dataloader(self) -> Iterable[Any]:
        """This rank's tiles of the level that was fitted."""
        return LazyBatches(lambda: map(Tile._make, self.levels.level_tiles(self.margin)))
