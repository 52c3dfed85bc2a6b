"""One `Trainer.fit` is one run: an epoch is a level, its single batch is a rank's share of chunks.

Optimisation is manual and nothing is synchronised; the state is the `representation/` folder.
"""

import logging
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar, cast

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch.utils.data import DataLoader, Dataset

from miner.config.build import build_settings, device_type
from miner.config.fingerprint import fit_digest, fit_identity
from miner.config.job import Job
from miner.config.schema import check_config
from miner.engine.disk_space import shared_folder
from miner.engine.ranks import Ranks
from miner.engine.records import CurvePoint, FitProgress, LevelRecord, level_curve, record_level
from miner.engine.trainer import rendezvous
from miner.fitting.level_fit import LevelFit
from miner.fitting.pyramid_fit import PyramidFit, make_spec
from miner.images import SourceImage, open_image
from miner.representation import REPRESENTATION_FOLDER
from miner.representation.store import FolderStore
from miner.signals.scratch import Scratch
from miner.signals.signal import SourceSignal
from miner.signals.store import LocalSignalStore, SharedSignalStore, SignalStore
from miner.support.communication import SINGLE_PROCESS, Communicator, partition
from miner.support.errors import ConfigError
from miner.support.process import PeakMemory, peak_memory
from miner.support.run_files import REPORT

T = TypeVar("T")
_LOG = logging.getLogger("miner")


class Share(NamedTuple):
    """The chunks of a level that one rank fits; may be none.

    A tuple that is never empty itself: Lightning skips an empty batch.
    """

    level: int
    chunks: list[int]


class MinerModule(pl.LightningModule):
    """Fits the levels of a pyramid and writes each chunk as it is finished.

    Chunks that an earlier start has finished are resumed as they are; their seconds count. `image`,
    `source`, `store` and `fitter` exist from `setup` on.
    """

    image: SourceImage
    source: SourceSignal
    store: FolderStore
    fitter: PyramidFit
    _level: LevelFit

    def __init__(
        self, config: DictConfig, job: Job, scratch: Scratch, progress: FitProgress
    ) -> None:
        """Take what `setup` needs to read the image and to begin the folder."""
        super().__init__()
        self.automatic_optimization = False
        self.ranks: Communicator = SINGLE_PROCESS
        self.records: list[LevelRecord] = []
        self.curve: list[CurvePoint] = []
        self.fit_time_s = 0.0
        self.n_resumed_shards = 0
        self.peaks: list[PeakMemory] = []
        self._config, self._job, self._scratch, self._progress = config, job, scratch, progress
        self._start = self._level_start_s = 0.0
        self._earlier_s = 0.0  # spent by earlier starts on what was resumed
        self._on_sigterm = signal.getsignal(signal.SIGTERM)

    def setup(self, stage: str) -> None:
        """Read the image and build its pyramid; nothing is written before all ranks agree.

        Raises:
            ConfigError: a setting, or ranks that differ.
            ImageError: the image cannot be read.
            OSError: the disk is full.
        """
        self.ranks = ranks = rendezvous(self.trainer, self._scratch.clear)
        device, folder = self.trainer.strategy.root_device, self._job.folder
        checked = check_config(self._config)
        named = checked.image
        image = open_image(named.path, named.max_pixels, named.crop_px, self._scratch)
        self.image = image
        self.source = SourceSignal(image.read, image.n_channels, image.sides)
        settings = build_settings(self._config)
        spec = make_spec(image.sides, image.format, settings)
        fit = fit_identity(self._config, image.sha256, device_type(checked.trainer.accelerator))
        backend = settings.backend.prepare(
            spec.models, settings.readout, settings.steps_at(0), torch.device(fit["device"])
        )
        fit |= {"overrides": list(self._job.overrides), "backend": type(backend).__name__}
        digest = fit_digest(fit)
        refuse_differences(ranks, fit["backend"], digest)
        is_first = ranks.rank == 0
        self.store = FolderStore(folder / REPRESENTATION_FOLDER, spec, fit, digest, is_first)
        if is_first:
            (folder / REPORT).unlink(missing_ok=True)  # of an earlier start: not finished yet
            self.store.begin()
        ranks.gather(None)
        self.store.join()
        signals: SignalStore = LocalSignalStore(device, self._scratch)
        if ranks.world_size > 1:
            signals = SharedSignalStore(device, shared_folder(checked, folder), is_first)
        settings = replace(settings, backend=backend)
        self.fitter = PyramidFit(self.source, spec, settings, signals, ranks)
        size = "x".join(map(str, reversed(image.sides)))
        among = f", {ranks.world_size} ranks" if ranks.world_size > 1 else ""
        _LOG.info("%s: %s on %s%s", image.name, size, device, among)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """None for Lightning: every sub-batch of blocks has its own."""
        return []

    def on_fit_start(self) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_train_start(self) -> None:
        """Restore SIGTERM: Lightning's handler waits for ranks that may be in mid-level."""
        if self.ranks.world_size > 1:
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def train_dataloader(self) -> "DataLoader[Share]":
        """Start the epoch's level and partition its unfinished chunks: always exactly one batch."""
        level = self.fitter.spec.n_levels - 1 - self.trainer.current_epoch
        self._level_start_s = self._seconds
        fit = self._level = self.fitter.start_level(level)
        missing = self.store.start_level(level, fit.chunks)
        for shard in self.store.shards:
            self.n_resumed_shards += 1
            # as if it had been fitted by as many ranks
            self._earlier_s += shard.stats.seconds / self.ranks.world_size
        missing = self.ranks.gather(missing)[0]  # as rank 0 has found it: the folder is changing
        loads = [len(fit.chunks[chunk]) for chunk in missing]
        share = partition(loads, self.ranks.world_size)[self.ranks.rank]
        self._progress.start_level(level, sum(loads[item] for item in share) * fit.n_steps)
        return _single(Share(level, [missing[item] for item in share]))

    def training_step(self, share: Share, batch_idx: int) -> None:
        """Fit the chunks of a share one after another, and wait for the other ranks."""
        for done, chunk in enumerate(share.chunks):
            self._progress.start_chunk(done, len(share.chunks))
            self.store.add(self._level.fit_chunk(chunk, self._progress.advance_blocks))
        for shard_headers in self.ranks.gather(self.store.shard_headers()):
            self.store.add_remote(shard_headers)
        self.fit_time_s = self._seconds

    def val_dataloader(self) -> "DataLoader[int]":
        """One batch without content: the level is the one that was just fitted."""
        return _single(0)

    def validation_step(self, batch: int, batch_idx: int) -> None:
        """Render the level from what was stored, score it and log its curve."""
        fit, shards = self._level, self.store.shards
        self.store.finish_level()
        sse = self.fitter.finish_level(fit, shards)
        if fit.level == 0:
            self.peaks = self.ranks.gather(peak_memory())
            if isinstance(self.ranks, Ranks):
                self.ranks.detach()
        record = record_level(fit, shards, sse, self._seconds - self._level_start_s)
        last = self.curve[-1] if self.curve else None
        points = level_curve(fit, shards, record, last, self._level_start_s)
        self.records.append(record)
        self.curve += points
        self._log_level(record, points)
        if self.ranks.rank == 0:
            self._progress.finish_level(record)

    @property
    def _seconds(self) -> float:
        """Seconds of fitting so far, those of earlier starts included."""
        return time.perf_counter() - self._start + self._earlier_s

    def _log_level(self, record: LevelRecord, points: Sequence[CurvePoint]) -> None:
        """Log by our own count of steps; Lightning's stays 0 under manual optimisation."""
        for logger in self.loggers:
            for point in points:
                values = {f"fit/{name}": float(value) for name, value in point._asdict().items()}
                del values["fit/level"]
                logger.log_metrics(values, step=point.step)
            levels = {f"level/{name}": float(value) for name, value in record._asdict().items()}
            logger.log_metrics(levels, step=points[-1].step)


def _single(batch: T) -> "DataLoader[T]":
    """A loader of one batch, given as it is; Lightning takes a list for several loaders."""
    dataset = cast("Dataset[T]", [batch])
    return DataLoader(dataset, batch_size=None)


def refuse_differences(ranks: Communicator, backend: str, digest: str) -> None:
    """Refuse ranks that would fit something else, or with other bits; rank 0 raises.

    Raises:
        ConfigError: which rank, and what differs.
    """
    for rank, (its_backend, its_digest) in enumerate(ranks.gather((backend, digest))):
        if ranks.rank == 0 and its_backend != backend:
            raise ConfigError(
                f"rank {rank} computes with {its_backend} and rank 0 with {backend}, with other "
                "bits; use backend=eager, or machines that are alike"
            )
        if ranks.rank == 0 and its_digest != digest:
            raise ConfigError(
                f"rank {rank} has other settings, another image or another kind of device than "
                "rank 0; start all ranks with the same command"
            )
