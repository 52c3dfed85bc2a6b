"""One `Trainer.fit` is one run: an epoch is a level, its single batch is the deal of chunks.

Optimisation is manual and nothing is synchronised; the state is the `representation/` folder.
"""

import signal
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar, cast

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from miner.engine.ranks import Ranks
from miner.engine.records import (
    CurvePoint,
    FitProgress,
    LevelRecord,
    level_curve,
    psnr_of_sse,
    record_level,
)
from miner.engine.setup import FitSetup, StartFit
from miner.engine.trainer import rendezvous
from miner.fitting.level_fit import LevelFit
from miner.support.communication import SINGLE_PROCESS, Communicator, partition
from miner.support.process import PeakMemory, peak_memory

T = TypeVar("T")


class Share(NamedTuple):
    """The chunks of a level that one process fits; may be none.

    A tuple that is never empty itself: Lightning passes over an empty batch.
    """

    level: int
    chunks: list[int]


class MinerModule(pl.LightningModule):
    """Fits the levels of a pyramid and writes each chunk as it is finished.

    Chunks that an earlier start has finished are taken up as they are; their seconds count.
    """

    def __init__(self, start: StartFit, progress: FitProgress, clear: Callable[[], None]) -> None:
        """Take what reads the image and begins the folder, once all processes are there.

        `clear` removes what this process has in scratch, for one that has to leave at once.
        """
        super().__init__()
        self.automatic_optimization = False
        self.progress = progress
        self.ranks: Communicator = SINGLE_PROCESS
        self.records: list[LevelRecord] = []
        self.curve: list[CurvePoint] = []
        self.fit_time_s = 0.0
        self.n_resumed_shards = 0
        self.peaks: list[PeakMemory] = []
        self._start, self._clear = start, clear
        self._started: FitSetup | None = None
        self._level_fit: LevelFit | None = None
        self._began = self._level_began = 0.0
        self._earlier_s = 0.0  # spent by earlier starts on what was taken up
        self._on_sigterm = signal.getsignal(signal.SIGTERM)

    @property
    def started(self) -> FitSetup:
        """The image, the fit and its folder."""
        if self._started is None:
            raise RuntimeError("nothing has begun: the trainer sets the module up first")
        return self._started

    def setup(self, stage: str) -> None:
        """Meet the other ranks and begin together."""
        self.ranks = rendezvous(self.trainer, self._clear)
        self._started = self._start(self.trainer.strategy.root_device, self.ranks)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """None for Lightning: every sub-batch of blocks has its own."""
        return []

    def on_fit_start(self) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_train_start(self) -> None:
        """Take back SIGTERM: Lightning's answer waits for ranks that may be in mid-level."""
        if self.ranks.world_size > 1:
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def train_dataloader(self) -> "DataLoader[Share]":
        """Begin the epoch's level and deal its unfinished chunks: always exactly one batch."""
        fitter, store = self.started.fitter, self.started.store
        level = fitter.spec.n_levels - 1 - self.trainer.current_epoch
        self._level_began = self._now
        fit = self._level_fit = fitter.start_level(level)
        own = store.start_level(level, fit.chunks)
        for shard in store.shards:
            self.n_resumed_shards += 1
            self._earlier_s += shard.stats.seconds / self.ranks.world_size  # as if as many had been
        missing = self.ranks.gather(own)[0]  # as rank 0 has found it: the folder is changing
        loads = [len(fit.chunks[chunk]) for chunk in missing]
        share = partition(loads, self.ranks.world_size)[self.ranks.rank]
        self.progress.start_level(level, sum(loads[item] for item in share) * fit.n_steps)
        return _single(Share(level, [missing[item] for item in share]))

    def training_step(self, partition: Share, batch_idx: int) -> None:
        """Fit the deal's chunks one after another, and wait for the other ranks."""
        store = self.started.store
        for done, chunk in enumerate(partition.chunks):
            self.progress.start_chunk(done, len(partition.chunks))
            store.add(self._present.fit_chunk(chunk, self.progress.advance))
        for shard_headers in self.ranks.gather(store.shard_headers()):
            store.add_remote(shard_headers)
        self.fit_time_s = self._now

    def val_dataloader(self) -> "DataLoader[int]":
        """One batch that says nothing: the level is the one that was just fitted."""
        return _single(0)

    def validation_step(self, batch: int, batch_idx: int) -> None:
        """Render the level from what was stored, score it and log its curve."""
        fit, store = self._present, self.started.store
        shards = store.shards
        store.finish_level()
        quality = psnr_of_sse(self.started.fitter.finish_level(fit, shards), fit.n_values)
        if fit.level == 0:
            self.peaks = self.ranks.gather(peak_memory())
            if isinstance(self.ranks, Ranks):
                self.ranks.detach()
        record = record_level(fit, shards, quality, self._now - self._level_began)
        before = CurvePoint(
            level=fit.level,
            step=self.curve[-1].step if self.curve else 0,
            seconds=self._level_began,
            parameters=sum(record.n_parameters for record in self.records),
            psnr_db=psnr_of_sse(fit.clipped_sse, fit.n_values),
        )
        points = level_curve(fit, shards, before, record)
        self.records.append(record)
        self.curve += points
        self._log_level(record, points)
        if self.ranks.rank == 0:
            self.progress.finish_level(record)

    @property
    def _present(self) -> LevelFit:
        if self._level_fit is None:
            raise RuntimeError("no level has begun: the trainer asks for its data loader first")
        return self._level_fit

    @property
    def _now(self) -> float:
        """Seconds of fitting so far, those of earlier starts included."""
        return time.perf_counter() - self._began + self._earlier_s

    def _log_level(self, record: LevelRecord, points: Sequence[CurvePoint]) -> None:
        """Log by our own count of steps; Lightning's stays 0 under manual optimisation."""
        for point in points:
            metrics = {
                "fit/psnr_db": point.psnr_db,
                "fit/step": float(point.step),
                "fit/seconds": point.seconds,
                "fit/parameters": float(point.parameters),
            }
            for logger in self.loggers:
                logger.log_metrics(metrics, step=point.step)
        levels = {f"level/{name}": float(value) for name, value in vars(record).items()}
        for logger in self.loggers:
            logger.log_metrics(levels, step=points[-1].step)


def _single(batch: T) -> "DataLoader[T]":
    """A loader of one batch, given as it is; Lightning takes a list for several loaders."""
    dataset = cast("Dataset[T]", [batch])
    return DataLoader(dataset, batch_size=None)
