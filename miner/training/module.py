"""One `Trainer.fit` is one run: an epoch is a level, its single batch is the deal of chunks.

Optimisation is manual and nothing is synchronised; the state is the `representation/` folder.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from miner.evaluation.metrics import psnr_db
from miner.fitting.fitter import PyramidFitter
from miner.fitting.level import LevelFit
from miner.representation import Shard, write_manifest, write_shard
from miner.training.progress import FitProgress
from miner.training.records import CurvePoint, LevelRecord, level_curve, record_level

T = TypeVar("T")


class Deal(NamedTuple):
    """The chunks of a level that one process fits; may be none.

    A tuple that is never empty itself: Lightning passes over an empty batch.
    """

    level: int
    chunks: list[int]


class PyramidModule(pl.LightningModule):
    """Fits the levels of a pyramid and writes each chunk as it is finished."""

    def __init__(self, fitter: PyramidFitter, folder: Path, progress: FitProgress) -> None:
        """Take the levels to fit and the folder for the representation."""
        super().__init__()
        self.automatic_optimization = False
        self.fitter, self.folder, self.progress = fitter, folder, progress
        self.records: list[LevelRecord] = []
        self.curve: list[CurvePoint] = []
        self.fit_time_s = 0.0
        self._checksums: dict[int, dict[str, str]] = {}
        self._shards: list[Shard] = []
        self._level_fit: LevelFit | None = None
        self._began = self._level_began = 0.0

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """None for Lightning: every sub-batch of blocks has its own."""
        return []

    def on_fit_start(self) -> None:
        """Start the clock and make the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._began = time.perf_counter()

    def train_dataloader(self) -> "DataLoader[Deal]":
        """Begin the epoch's level and deal its chunks: always exactly one batch."""
        level = self.fitter.spec.n_levels - 1 - self.trainer.current_epoch
        self._level_began = time.perf_counter()
        self._level_fit, self._shards = self.fitter.start_level(level), []
        self.progress.start_level(self._level_fit)
        return _single(Deal(level, list(range(len(self._level_fit.chunks)))))

    def training_step(self, deal: Deal, batch_idx: int) -> None:
        """Fit the deal's chunks one after another."""
        fit = self._present
        checksums = self._checksums.setdefault(fit.level, {})
        for chunk in deal.chunks:
            self.progress.start_chunk(chunk)
            shard = fit.fit_chunk(chunk, self.progress.advance)
            checksums[shard.file_name] = write_shard(self.folder, shard)
            self._shards.append(shard)
        self.fit_time_s = time.perf_counter() - self._began

    def val_dataloader(self) -> "DataLoader[int]":
        """One batch that says nothing: the level is the one that was just fitted."""
        return _single(0)

    def validation_step(self, batch: int, batch_idx: int) -> None:
        """Render the level from what was stored, score it and log its curve."""
        fit = self._present
        write_manifest(self.folder, self.fitter.spec, self._checksums)
        reconstruction = self.fitter.finish_level(fit, self._shards)
        now = time.perf_counter()
        quality = psnr_db(fit.signal, reconstruction)
        record = record_level(fit, self._shards, quality, now - self._level_began)
        before = CurvePoint(
            level=fit.level,
            step=self.curve[-1].step if self.curve else 0,
            seconds=self._level_began - self._began,
            parameters=sum(record.n_parameters for record in self.records),
            psnr_db=psnr_db(fit.signal, fit.prediction),
        )
        points = level_curve(fit, self._shards, before, record)
        self.records.append(record)
        self.curve += points
        self._log_level(record, points)
        self.progress.finish_level(record)

    @property
    def _present(self) -> LevelFit:
        if self._level_fit is None:
            raise RuntimeError("no level has begun: the trainer asks for its data loader first")
        return self._level_fit

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
