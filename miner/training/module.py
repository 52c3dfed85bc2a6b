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

from miner.evaluation.measurements import PeakMemory, peak_memory
from miner.exchange import ALONE, Exchange
from miner.fitting.level import LevelFit
from miner.training.deal import deal
from miner.training.progress import FitProgress
from miner.training.ranks import Ranks
from miner.training.records import (
    CurvePoint,
    LevelRecord,
    level_curve,
    psnr_of_sse,
    record_level,
)
from miner.training.start import Start, Started
from miner.training.trainer import meet

T = TypeVar("T")


class Deal(NamedTuple):
    """The chunks of a level that one process fits; may be none.

    A tuple that is never empty itself: Lightning passes over an empty batch.
    """

    level: int
    chunks: list[int]


class PyramidModule(pl.LightningModule):
    """Fits the levels of a pyramid and writes each chunk as it is finished.

    Chunks that an earlier start has finished are taken up as they are; their seconds count.
    """

    def __init__(self, start: Start, progress: FitProgress, clear: Callable[[], None]) -> None:
        """Take what reads the image and begins the folder, once all processes are there.

        `clear` removes what this process has in scratch, for one that has to leave at once.
        """
        super().__init__()
        self.automatic_optimization = False
        self.progress = progress
        self.ranks: Exchange = ALONE
        self.records: list[LevelRecord] = []
        self.curve: list[CurvePoint] = []
        self.fit_time_s = 0.0
        self.n_taken_up = 0
        self.peaks: list[PeakMemory] = []
        self._start, self._clear = start, clear
        self._started: Started | None = None
        self._level_fit: LevelFit | None = None
        self._began = self._level_began = 0.0
        self._earlier_s = 0.0  # spent by earlier starts on what was taken up
        self._on_sigterm = signal.getsignal(signal.SIGTERM)

    @property
    def started(self) -> Started:
        """The image, the fit and its folder."""
        if self._started is None:
            raise RuntimeError("nothing has begun: the trainer sets the module up first")
        return self._started

    def setup(self, stage: str) -> None:
        """Meet the other ranks and begin together."""
        self.ranks = meet(self.trainer, self._clear)
        self._started = self._start(self.trainer.strategy.root_device, self.ranks)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """None for Lightning: every sub-batch of blocks has its own."""
        return []

    def on_fit_start(self) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_train_start(self) -> None:
        """Take back SIGTERM: Lightning's answer waits for ranks that may be in mid-level."""
        if self.ranks.n_ranks > 1:
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def train_dataloader(self) -> "DataLoader[Deal]":
        """Begin the epoch's level and deal its unfinished chunks: always exactly one batch."""
        fitter, product = self.started.fitter, self.started.product
        level = fitter.spec.n_levels - 1 - self.trainer.current_epoch
        self._level_began = self._now
        fit = self._level_fit = fitter.start_level(level)
        own = product.start_level(level, fit.chunks)
        for shard in product.shards:
            self.n_taken_up += 1
            self._earlier_s += shard.stats.seconds / self.ranks.n_ranks  # as if as many had been
        missing = self.ranks.gather(own)[0]  # as rank 0 has found it: the folder is changing
        loads = [len(fit.chunks[chunk]) for chunk in missing]
        share = deal(loads, self.ranks.n_ranks)[self.ranks.rank]
        self.progress.start_level(level, sum(loads[item] for item in share) * fit.n_steps)
        return _single(Deal(level, [missing[item] for item in share]))

    def training_step(self, deal: Deal, batch_idx: int) -> None:
        """Fit the deal's chunks one after another, and wait for the other ranks."""
        product = self.started.product
        for done, chunk in enumerate(deal.chunks):
            self.progress.start_chunk(done, len(deal.chunks))
            product.add(self._present.fit_chunk(chunk, self.progress.advance))
        for heads in self.ranks.gather(product.heads()):
            product.take(heads)
        self.fit_time_s = self._now

    def val_dataloader(self) -> "DataLoader[int]":
        """One batch that says nothing: the level is the one that was just fitted."""
        return _single(0)

    def validation_step(self, batch: int, batch_idx: int) -> None:
        """Render the level from what was stored, score it and log its curve."""
        fit, product = self._present, self.started.product
        shards = product.shards
        product.finish_level()
        quality = psnr_of_sse(self.started.fitter.finish_level(fit, shards), fit.n_values)
        if fit.level == 0:
            self.peaks = self.ranks.gather(peak_memory())
            if isinstance(self.ranks, Ranks):
                self.ranks.need_nobody()
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
