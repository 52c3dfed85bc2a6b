"""One `Trainer.fit` is one run: an epoch fits a level, its validation renders what was stored.

Optimisation is manual and Lightning synchronises nothing: blocks share no parameters.
"""

import logging
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from torch import Tensor

from miner.config.fingerprint import fit_digest
from miner.engine.data import RenderedTile, SignalData, Tile
from miner.engine.records import LevelRecord, count_missed, record_level
from miner.fitting.level_fit import LevelFit
from miner.metrics.base import TileMetric
from miner.metrics.objective import Objective, Quality
from miner.metrics.scores import Evaluation, squared_error, with_margin
from miner.representation import Representation, Shard
from miner.representation.store import FolderStore, MemoryStore
from miner.signals.regions import extended, tiles
from miner.support.communication import Communicator, gather_items, items_of_rank
from miner.support.process import peak_memory_gib

_LOG = logging.getLogger("miner")
Identity = Callable[[str, str], Mapping[str, Any]]


class LevelResult(NamedTuple):
    """A level that was fitted and rendered; `start_s` is the fit's time when it began."""

    fit: LevelFit
    shards: Sequence[Shard]
    record: LevelRecord
    start_s: float


class MinerModule(pl.LightningModule):
    """Fits the levels of a pyramid chunk by chunk, and scores what is stored of the finest.

    Shards go to `folder`, which `RepresentationCheckpoint` sets, and stay in memory without it.
    Those of an earlier start are resumed as they are, and their seconds count. Beside Lightning's
    hooks, callbacks may have those of `miner.callbacks.base.Callback`.

    `identity` tells what a fit depends on, from the source's SHA-256 and the kind of device;
    `objective` what a search maximises, from a report. `max_chunks` are fitted of each level, None
    for all. `began` is the run's start by `time.time`. `metrics` are scores beyond the usual ones.
    """

    def __init__(
        self,
        identity: Identity = lambda sha256, device: {},
        objective: Objective | None = None,
        max_chunks: int | None = None,
        began: float | None = None,
        metrics: Mapping[str, TileMetric] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.folder: Path | None = None
        self.store: FolderStore | MemoryStore
        self.records: list[LevelRecord] = []
        self.extra: dict[str, Any] = {}  # what callbacks add to the report
        self.scores: dict[str, Any] = {}
        self.fit_time_s = self._render_time_s = 0.0
        self.peaks_gib: list[tuple[float, float]] = []
        self._shards: dict[int, Sequence[Shard]] = {}  # of all levels so far
        self.is_complete, self.n_resumed_shards = False, 0
        self.objective, self.began = objective or Quality(), time.time() if began is None else began
        self._identity, self._max_chunks, self._metrics = identity, max_chunks, metrics or {}
        self._earlier_s = 0.0  # spent by earlier starts on what was resumed
        self._on_sigterm = signal.getsignal(signal.SIGTERM)

    @property
    def data(self) -> SignalData:
        """The data module."""
        data: SignalData = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    @property
    def ranks(self) -> Communicator:
        """The ranks of the run."""
        return self.data.ranks

    @cached_property
    def representation(self) -> Representation:
        """What is stored, once the fit has ended."""
        return Representation(self.data.spec, self._shards)

    def setup(self, stage: str) -> None:
        """Make the store; nothing is written before all ranks agree.

        Raises `ImageError`, `OSError` for a full disk, and `ConfigError`, also if ranks differ.
        """
        if stage != "fit":
            return
        data, ranks, device = self.data, self.ranks, self.trainer.strategy.root_device
        backend = type(data.settings.backend).__name__
        fit = {**self._identity(data.source.sha256, device.type), "backend": backend}
        digest = fit_digest(fit) if "settings" in fit else ""
        self.store = MemoryStore()
        if self.folder is not None:
            self.store = FolderStore(self.folder, data.spec, fit, digest, ranks)
            self.store.begin()
        among = f", {ranks.world_size} ranks" if ranks.world_size > 1 else ""
        understood = data.source.format.describe(data.spec.sides, data.spec.mask)
        _LOG.info("%s: %s on %s%s", data.source.name, understood, device, among)

    def configure_optimizers(self) -> None:
        """None for Lightning: there is one for each sub-batch of blocks."""

    def on_train_start(self) -> None:
        """Start the clock: the image is read and its pyramid is built."""
        self._start, self._scorer = time.perf_counter(), ThreadPoolExecutor(1)
        self._scored: Future[None] = self._scorer.submit(lambda: None)

    def on_train_epoch_start(self) -> None:
        """Start the epoch's level and partition its unfinished chunks."""
        if self.ranks.world_size > 1:  # Lightning's handler waits for ranks, maybe in mid-level
            signal.signal(signal.SIGTERM, self._on_sigterm)
        level = self.data.spec.n_levels - 1 - self.trainer.current_epoch
        self._level_start_s = self._seconds
        fit = self._level = self.data.levels.start_level(level)
        self._n_chunks = len(fit.chunks[: self._max_chunks])
        missing = self.store.start_level(level, fit.chunks[: self._n_chunks])
        self.n_resumed_shards += len(self.store.shards)
        for shard in self.store.shards:  # as if it had been fitted by as many ranks
            self._earlier_s += shard.stats.seconds / self.ranks.world_size
        shares = np.array_split(missing, self.ranks.world_size)  # neighbours along the curve
        self._chunks = shares[self.ranks.rank].tolist()
        self._call("on_level_start", fit, self._chunks)

    def training_step(self, batch: int, batch_idx: int) -> None:
        """Fit this rank's chunks of the level one after another, and wait for the other ranks."""
        for chunk in self._chunks:
            shard = self._level.fit_chunk(chunk, self._on_steps)
            self.store.add(shard)
            self._call("on_chunk_end", shard)
            left = [one.time_remaining() for one in self._callbacks if isinstance(one, Timer)]
            if any(seconds is not None and seconds <= 0 for seconds in left):
                break
        self.store.finish_level()
        self.fit_time_s = self._seconds
        is_whole = len(self.store.shards) == self._n_chunks
        self.is_complete = is_whole and self._level.level == 0
        self.trainer.should_stop |= not is_whole
        self.data.levels.start_rendering(self._level, self.store.shards)
        self._start_scores()
        self.data.margin = 0 if self._level.level else self._evaluation.reach

    def validation_step(self, tile: Tile, batch_idx: int) -> None:
        """Render a tile of the level from what was stored; a thread scores it meanwhile."""
        self.ranks.check()
        began = time.perf_counter()
        preds = self.data.levels.render(tile.region, tile.box).cpu()
        self._render_time_s += time.perf_counter() - began
        self._scored.result()
        self._scored = self._scorer.submit(self._score, tile, preds, self._level)

    def on_validation_epoch_end(self) -> None:
        """Finish the level; ranks without tiles come here too, as their number is not announced."""
        self._scored.result()
        fit, shards = self._level, self.store.shards
        sse, n_missed = map(sum, zip(*gather_items(self.ranks, self._errors), strict=True))
        self.data.levels.finish_level()
        self._shards[fit.level] = shards
        wall_time_s = self._seconds - self._level_start_s
        record = record_level(fit, shards, sse, int(n_missed), wall_time_s)
        self.records.append(record)
        self.log("level/psnr_db", record.psnr_db, logger=False)
        if self.ranks.rank == 0:
            record.show()
        self._call("on_level_end", LevelResult(fit, shards, record, self._level_start_s))
        if fit.level == 0:
            self._finish_scores()
            known = {f"test/{n}": score for n, score in self.scores.items() if score is not None}
            self.log_dict(known, logger=False)

    def on_fit_end(self) -> None:
        """Let callbacks write; of a fit that was stopped, score first what is stored, enlarged."""
        if not self.scores:
            self._start_scores()
            signal, device = self.data.signal, self.data.levels.device
            for region in items_of_rank(self.ranks, list(tiles(signal.sides))):
                box = extended(region, signal.sides, self._evaluation.reach)
                began = time.perf_counter()
                preds = self.representation.reconstruct(0, box, device).clamp_(0, 1).cpu()
                self._render_time_s += time.perf_counter() - began
                self._score(Tile(region, box, signal.read(box)), preds)
            self._finish_scores()
        self._call("on_scored")

    def _start_scores(self) -> None:
        spec = self.data.spec
        self._evaluation = Evaluation(spec.grid(0), spec.n_channels, self._metrics, spec.mask)
        self._errors = list[tuple[float, int]]()  # of tiles: squared, and blocks above the bound

    def _score(self, tile: Tile, preds: Tensor, fit: LevelFit | None = None) -> None:
        """Score a tile of a fit's level, or without one of level 0, and let callbacks have it."""
        target, inside = tile.values.cpu(), with_margin(tile.region)
        level = 0 if fit is None else fit.level
        if (valid := self.data.spec.valid(tile.box, level)) is not None:
            preds = torch.where(torch.from_numpy(valid), preds, target)
        if fit is not None:
            errors = squared_error(target[inside], preds[inside])
            errors *= fit.represented_in(tile.region)
            n_missed = count_missed(fit, tile.region, errors)
            self._errors.append((float(errors.sum()), n_missed))
        if level == 0:
            self._evaluation.add(tile.region, target, preds)
        self._call("on_tile_end", RenderedTile(level, tile.region, target[inside], preds[inside]))

    def _finish_scores(self) -> None:
        self.scores = self._evaluation.scores(self.ranks)
        self.scores |= self.data.spec.pixel_format.over_type(self.scores["psnr_db"])
        self.peaks_gib = self.ranks.gather(peak_memory_gib())
        self.scores["render_time_s"] = sum(self.ranks.gather(self._render_time_s))
        if self._metrics:
            is_higher = {n: m.higher_is_better is not False for n, m in self._metrics.items()}
            self.extra["higher_is_better"] = is_higher

    def _on_steps(self, n_block_steps: int) -> None:
        self.ranks.check()
        self._call("on_block_steps", n_block_steps)

    @property
    def _callbacks(self) -> list[Any]:
        return self.trainer.callbacks  # type: ignore[attr-defined,no-any-return]

    def _call(self, hook: str, *arguments: Any) -> None:
        for callback in self._callbacks:
            if hasattr(callback, hook):
                getattr(callback, hook)(self.trainer, self, *arguments)

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self._start + self._earlier_s
