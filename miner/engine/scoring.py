"""What the modules of all methods share: what is stored is scored tile by tile, and reported."""

import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from miner.engine.data import RenderedTile, Tile
from miner.engine.records import LevelRecord
from miner.metrics.base import TileMetric
from miner.metrics.objective import Objective, Quality
from miner.metrics.scores import Evaluation, with_margin
from miner.representation import Representation
from miner.support.communication import Communicator
from miner.support.process import peak_memory_gib


class ScoredModule(pl.LightningModule):
    """A fit whose stored result is scored, by the same sums whatever the method.

    The result goes to `folder`, which `RepresentationCheckpoint` sets. Beside Lightning's hooks,
    callbacks may have those of `miner.callbacks.base.Callback`.

    `objective` is what a search maximises, from a report. `began` is the run's start by
    `time.time`. `metrics` are scores beyond the usual ones.
    """

    def __init__(
        self,
        objective: Objective | None = None,
        began: float | None = None,
        metrics: Mapping[str, TileMetric] | None = None,
    ) -> None:
        super().__init__()
        self.folder: Path | None = None
        self.records: list[LevelRecord] = []
        self.extra: dict[str, Any] = {}  # what callbacks add to the report
        self.scores: dict[str, Any] = {}
        self.fit_time_s = self._render_time_s = 0.0
        self.peaks_gib: list[tuple[float, float]] = []
        self.is_complete, self.n_resumed_shards = False, 0
        self.objective, self.began = objective or Quality(), time.time() if began is None else began
        self.metrics = metrics or {}

    @property
    def data(self) -> Any:
        """The data module: the source, the geometry `spec`, the ranks and the seed."""
        return self.trainer.datamodule  # type: ignore[attr-defined]

    @property
    def ranks(self) -> Communicator:
        """The ranks of the run."""
        ranks: Communicator = self.data.ranks
        return ranks

    @property
    def representation(self) -> Representation | None:
        """The networks of blocks, once the fit has ended; None for a method without blocks."""
        return None

    @property
    @abstractmethod
    def n_parameters(self) -> int | None:
        """Stored numbers; None for what is counted in bits alone."""

    @property
    @abstractmethod
    def file_bytes(self) -> int | None:
        """Size of the stored files; None if there are none."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to be fitted, or no time that the method has for it."""
        return self.is_complete

    def _start_scores(self) -> None:
        spec = self.data.spec
        self._evaluation = Evaluation(spec.grid(0), spec.n_channels, self.metrics, spec.mask)

    def _score(self, tile: Tile, preds: Tensor, level: int = 0) -> RenderedTile:
        """Score a rendered tile of a level, and let callbacks have what is in its region."""
        target, inside = tile.values.cpu(), with_margin(tile.region)
        if (valid := self.data.spec.valid(tile.box, level)) is not None:
            preds = torch.where(torch.from_numpy(valid), preds, target)
        if level == 0:
            self._evaluation.add(tile.region, target, preds)
        rendered = RenderedTile(level, tile.region, target[inside], preds[inside])
        self.call("on_tile_end", rendered)
        return rendered

    def _finish_scores(self) -> None:
        self.scores = self._evaluation.scores(self.ranks)
        self.scores |= self.data.spec.pixel_format.over_type(self.scores["psnr_db"])
        self.peaks_gib = self.ranks.gather(peak_memory_gib())
        self.scores["render_time_s"] = sum(self.ranks.gather(self._render_time_s))
        if self.metrics:
            is_higher = {n: m.higher_is_better is not False for n, m in self.metrics.items()}
            self.extra["higher_is_better"] = is_higher

    def _log_scores(self) -> None:
        """Let Lightning's callbacks have the scores; only within the fit."""
        known = {f"test/{k}": score for k, score in self.scores.items() if score is not None}
        self.log_dict(known, logger=False)

    @property
    def callbacks(self) -> list[Any]:
        """Lightning's callbacks of the run."""
        return self.trainer.callbacks  # type: ignore[attr-defined,no-any-return]

    def call(self, hook: str, *arguments: Any) -> None:
        """Call a hook of the callbacks that have it."""
        for callback in self.callbacks:
            if hasattr(callback, hook):
                getattr(callback, hook)(self.trainer, self, *arguments)
