"""An image and its pyramid as a Lightning data module: an epoch is a level.

A training batch is all that a rank fits of a level: Lightning broadcasts at every batch, so that
ranks with different numbers of batches would wait for each other for ever.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytorch_lightning as pl
from torch import Tensor

from miner.engine.ranks import Ranks
from miner.fitting.pyramid_fit import PyramidFit, make_spec, prepare_backend
from miner.fitting.settings import FitSettings
from miner.images.pixel_format import PixelFormat
from miner.images.source_image import SourceImage
from miner.signals.mask import Mask
from miner.signals.regions import Region
from miner.signals.scratch import Scratch
from miner.signals.signal import Signal, SourceSignal
from miner.signals.store import LocalSignalStore, SharedSignalStore, SignalStore
from miner.support.communication import SINGLE_PROCESS, Communicator


class Source(NamedTuple):
    """What is fitted: `(C, *S)` in [0, 1], its kind of values, name, SHA-256 and mask."""

    signal: Signal
    pixel_format: PixelFormat
    name: str = ""
    sha256: str = ""
    mask: Mask | None = None

    @classmethod
    def of_image(cls, image: SourceImage) -> Self:
        """An image, whose values are converted as they are read."""
        signal = SourceSignal(image.read, image.n_channels, image.sides)
        return cls(signal, image.format, image.name, image.sha256, image.mask)


class Share(NamedTuple):
    """A training batch: the chunks of a level that this rank fits."""

    level: int
    chunks: list[int]


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
class _Batches:
    """Batches that are found when an epoch begins; their number is unknown before."""

    find: Callable[[], Iterable[Any]]

    def __iter__(self) -> Iterator[Any]:
        yield from self.find()  # not before the first batch is asked for


class _OneBatch(_Batches):
    def __len__(self) -> int:
        return 1


class SignalData(pl.LightningDataModule):
    """Opens a source, builds its pyramid, and gives the batches of one level after another.

    `MinerModule` sets `share`, the next training batch, and `margin`, the pixels after a tile that
    scores need. `folder` is the run's, `shared_folder` that of files which several ranks exchange.
    """

    def __init__(
        self,
        open_source: Callable[[], Source],
        settings: FitSettings,
        scratch: Scratch,
        folder: Path = Path(),
        shared_folder: Path = Path(),
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.settings, self.scratch = settings, scratch
        self.ranks: Communicator = SINGLE_PROCESS
        self.share, self.margin = Share(0, []), 0
        self._open, self._folder, self._shared_folder = open_source, folder, shared_folder

    @property
    def seed(self) -> int:
        """What determines the random draws."""
        return self.settings.seed

    def setup(self, stage: str) -> None:
        """Connect the ranks, open the source and prepare the backend."""
        if stage != "fit":
            return
        assert self.trainer is not None, "Lightning attaches the trainer before it calls hooks"
        if self.trainer.world_size > 1:
            self.ranks = Ranks(self._folder, self.trainer)
        self.source = self._open()
        sides = tuple(self.source.signal.sides)
        spec = make_spec(sides, self.source.pixel_format, self.settings)
        self.spec = replace(spec, mask=self.source.mask)
        self.device = self.trainer.strategy.root_device
        self.settings = prepare_backend(self.settings, self.spec, self.device)
        self.trainer.fit_loop.max_epochs = self.spec.n_levels

    def train_dataloader(self) -> Iterable[Share]:
        """Build the pyramid; every epoch has one batch, the `share` of its level."""
        store: SignalStore = LocalSignalStore(self.device, self.scratch)
        if self.ranks.world_size > 1:
            store = SharedSignalStore(self.device, self._shared_folder, self.ranks.rank == 0)
        self.levels = PyramidFit(self.source.signal, self.spec, self.settings, store, self.ranks)
        return _OneBatch(lambda: [self.share])

    def val_dataloader(self) -> Iterable[Tile]:
        """This rank's tiles of the level that was fitted."""
        return _Batches(lambda: map(Tile._make, self.levels.level_tiles(self.margin)))
