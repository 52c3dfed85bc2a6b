"""One `Trainer.fit` is one run: an epoch fits a level, its validation renders what was stored.

Optimisation is manual and Lightning synchronises nothing: blocks share no parameters.
"""

import logging
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from pytorch_lightning.callbacks import Timer
from torch import Tensor

from miner.config.fingerprint import fit_digest
from miner.engine.data import SignalData, Tile
from miner.engine.records import LevelRecord, count_missed, record_level
from miner.engine.scoring import ScoredModule
from miner.fitting.level_fit import LevelFit
from miner.metrics.base import TileMetric
from miner.metrics.objective import Objective
from miner.metrics.scores import squared_error
from miner.representation import Representation, Shard
from miner.representation.store import FolderStore, MemoryStore
from miner.signals.regions import extended, tiles
from miner.support.communication import gather_items, items_of_rank

_LOG = logging.getLogger("miner")
Identity = Callable[[str, str], Mapping[str, Any]]


class LevelResult(NamedTuple):
    """A level that was fitted and rendered; `start_s` is the fit's time when it began."""

    fit: LevelFit
    shards: Sequence[Shard]
    record: LevelRecord
    start_s: float


class MinerModule(ScoredModule):
    """Fits the levels of a pyramid chunk by chunk, and scores what is stored of the finest.

    Shards go to `folder`, which `RepresentationCheckpoint` sets, and stay in memory without it.
    Those of an earlier start are resumed as they are, and their seconds count.

    `identity` tells what a fit depends on, from the source's SHA-256 and the kind of device.
    `max_chunks` are fitted of each level, None for all. With `ends_with_time` the trainer's
    `max_time` ends a fit, which is not resumed then. The rest is of `ScoredModule`.
    """

    def __init__(
        self,
        identity: Identity = lambda sha256, device: {},
        objective: Objective | None = None,
        max_chunks: int | None = None,
        began: float | None = None,
        metrics: Mapping[str, TileMetric] | None = None,
        ends_with_time: bool = False,
    ) -> None:
        super().__init__(objective, began, metrics)
        self._ends_with_time = ends_with_time
        self.automatic_optimization = False
        self.store: FolderStore | MemoryStore
        self._shards: dict[int, Sequence[Shard]] = {}  # of all levels so far
        self._identity, self._max_chunks = identity, max_chunks
        self._earlier_s = 0.0  # spent by earlier starts on what was resumed
        self._on_sigterm = signal.getsignal(signal.SIGTERM)

    @property
    def data(self) -> SignalData:
        """The data module."""
        data: SignalData = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    @property
    def has_ended(self) -> bool:
        """Whether all chunks are fitted, or the time is over."""
        return self.is_complete or (self._ends_with_time and self._is_time_over)

    @property
    def _is_time_over(self) -> bool:
        timers = [one for one in self.callbacks if isinstance(one, Timer)]
        left = [timer.time_remaining() for timer in timers]
        return any(seconds is not None and seconds <= 0 for seconds in left)

    @cached_property
    def representation(self) -> Representation:
        """What is stored, once the fit has ended."""
        return Representation(self.data.spec, self._shards)

    @property
    def n_parameters(self) -> int:
        """Stored numbers of all block networks."""
        return self.representation.n_parameters

    @property
    def file_bytes(self) -> int | None:
        """Size of shards and manifest; None where shards stay in memory."""
        return self.store.n_bytes

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
        self.call("on_level_start", fit, self._chunks)

    def training_step(self, batch: int, batch_idx: int) -> None:
        """Fit this rank's chunks of the level one after another, and wait for the other ranks."""
        for chunk in self._chunks:
            shard = self._level.fit_chunk(chunk, self._on_steps)
            self.store.add(shard)
            self.call("on_chunk_end", shard)
            if self._is_time_over:
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
        self._scored = self._scorer.submit(self._score_level, tile, preds, self._level)

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
        self.call("on_level_end", LevelResult(fit, shards, record, self._level_start_s))
        if fit.level == 0:
            self._finish_scores()
            self._log_scores()

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
        self.call("on_scored")

    def _start_scores(self) -> None:
        super()._start_scores()
        self._errors = list[tuple[float, int]]()  # of tiles: squared, and blocks above the bound

    def _score_level(self, tile: Tile, preds: Tensor, fit: LevelFit) -> None:
        """Score a tile of a fit's level, and count its blocks above the bound."""
        rendered = self._score(tile, preds, fit.level)
        errors = squared_error(rendered.target, rendered.preds)
        errors *= fit.represented_in(tile.region)
        self._errors.append((float(errors.sum()), count_missed(fit, tile.region, errors)))

    def _on_steps(self, n_block_steps: int) -> None:
        self.ranks.check()
        self.call("on_block_steps", n_block_steps)

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self._start + self._earlier_s
