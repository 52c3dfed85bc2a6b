"""What is known of a level after its fit, and how it is shown in a terminal."""

import logging
import math
from collections.abc import Sequence
from typing import NamedTuple

from rich import get_console
from rich.progress import Progress, TextColumn

from miner.fitting.block_fit import merge_curves, no_longer_than
from miner.fitting.level_fit import LevelFit
from miner.representation import Representation, Shard

_LOG = logging.getLogger("miner")


class LevelRecord(NamedTuple):
    """One level of a report; `n_active` blocks have a network, `n_converged` of them left early."""

    level: int
    width_px: int
    height_px: int
    n_blocks: int
    n_active: int
    n_converged: int
    n_fresh: int
    n_diverged: int
    n_parameters: int
    psnr_db: float
    wall_time_s: float


class CurvePoint(NamedTuple):
    """Quality during a fit; steps, seconds and parameters are counted over all levels."""

    level: int
    step: int
    seconds: float
    parameters: int
    psnr_db: float


def record_level(
    fit: LevelFit, shards: Sequence[Shard], sse: float, wall_time_s: float
) -> LevelRecord:
    """Sum up a level's shards; `sse` is the squared error of what was stored."""
    height, width = fit.spec.level_sides[fit.level]
    return LevelRecord(
        level=fit.level,
        width_px=width,
        height_px=height,
        n_blocks=fit.grid.n_blocks,
        n_active=sum(len(shard.blocks) for shard in shards),
        n_converged=sum(shard.stats.n_converged for shard in shards),
        n_fresh=sum(shard.stats.n_fresh for shard in shards),
        n_diverged=sum(shard.stats.n_diverged for shard in shards),
        n_parameters=Representation(fit.spec, {fit.level: shards}).n_parameters,
        psnr_db=_psnr_db(fit, sse),
        wall_time_s=wall_time_s,
    )


def level_curve(
    fit: LevelFit, shards: list[Shard], record: LevelRecord, curve: list[CurvePoint], start_s: float
) -> list[CurvePoint]:
    """The level's quality over its steps, as if its chunks were fitted in parallel.

    It continues the coarser levels' curve, with the prediction, up to the record. Points between
    are measured in training, unclipped and before anything is rounded.
    """
    step, n_parameters = (curve[-1].step, curve[-1].parameters) if curve else (0, 0)
    points = [CurvePoint(fit.level, step, start_s, n_parameters, _psnr_db(fit, fit.clipped_sse))]
    n_parameters += record.n_parameters
    inactive_sse = max(0.0, fit.predicted_sse - fit.active_sse)
    chunks = merge_curves([shard.stats.curve for shard in shards])
    for done, later, sse in no_longer_than(chunks, record.wall_time_s):  # ranks run in parallel
        quality = _psnr_db(fit, inactive_sse + sse)
        points.append(CurvePoint(fit.level, step + done, start_s + later, n_parameters, quality))
    end = start_s + record.wall_time_s
    points.append(CurvePoint(fit.level, points[-1].step, end, n_parameters, record.psnr_db))
    return points


def _psnr_db(fit: LevelFit, sse: float) -> float:
    return math.inf if sse == 0 else 10 * math.log10(fit.n_values / sse)


class FitProgress(Progress):
    """Bars of the levels and of a level's block steps, in a terminal, inside a `with` statement."""

    def __init__(self, n_levels: int, is_shown: bool = True) -> None:
        super().__init__(
            *Progress.get_default_columns(),
            TextColumn("{task.fields[note]}"),
            transient=True,
            disable=not (is_shown and get_console().is_terminal),
        )
        self._levels = self.add_task("levels", total=n_levels, note="")
        self._blocks = self.add_task("blocks", note="", visible=False)

    def start_level(self, level: int, n_block_steps: int) -> None:
        """Start a level's bar."""
        name = f"level {level}"
        self.reset(self._blocks, total=n_block_steps, description=name, visible=True, note="")

    def start_chunk(self, done: int, total: int) -> None:
        """Show how many chunks are done."""
        self.update(self._blocks, note=f"chunk {done + 1} of {total}")

    def advance_blocks(self, n_block_steps: int) -> None:
        """Count block steps that were done or spared."""
        self.advance(self._blocks, n_block_steps)

    def finish_level(self, record: LevelRecord) -> None:
        """Log the level's line."""
        self.update(self._blocks, visible=False)
        self.advance(self._levels)
        fields = record._asdict()
        _LOG.info(
            "level %(level)d  %(width_px)dx%(height_px)d  %(n_active)d of %(n_blocks)d blocks "
            "active, %(n_converged)d converged, %(n_fresh)d started fresh  %(psnr_db).2f dB  "
            "%(wall_time_s).1f s",
            fields,
        )
        if record.n_diverged:
            _LOG.warning(
                "level %(level)d: %(n_diverged)d blocks diverged and were fitted again at a tenth "
                "of optimizer.lr, which is too high for them",
                fields,
            )
