"""What is known of a level after its fit."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from rich import get_console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from miner.fitting.block_fit import merge_curves, no_longer_than
from miner.fitting.level_fit import LevelFit
from miner.representation import Representation, Shard


@dataclass(frozen=True)
class LevelRecord:
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


@dataclass(frozen=True)
class CurvePoint:
    """Quality of a level part-way, its axes counted over all levels so far."""

    level: int
    step: int
    seconds: float
    parameters: int
    psnr_db: float


def psnr_of_sse(sse: float, n_values: int) -> float:
    """PSNR in dB of a summed squared error over `n_values` values, peak 1; infinite for 0."""
    return math.inf if sse == 0 else 10 * math.log10(n_values / sse)


def record_level(
    fit: LevelFit, shards: Sequence[Shard], psnr_db: float, wall_time_s: float
) -> LevelRecord:
    """Sum up a level's shards."""
    representation = Representation(fit.spec, {fit.level: shards})
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
        n_parameters=representation.n_parameters,
        psnr_db=psnr_db,
        wall_time_s=wall_time_s,
    )


def level_curve(
    fit: LevelFit, shards: Sequence[Shard], before: CurvePoint, after: LevelRecord
) -> list[CurvePoint]:
    """The level's quality over its steps, as if its chunks ran side by side.

    From the prediction, the point `before` the level, to what was stored, the record `after` it.
    The points between are measured in training, unclipped and before anything is rounded.
    """
    n_values = fit.n_values
    inactive_sse = max(0.0, fit.predicted_sse - fit.active_sse)
    stored = before.parameters + after.n_parameters
    points = [before]
    chunks = merge_curves([shard.stats.curve for shard in shards])
    for step, seconds, sse in no_longer_than(chunks, after.wall_time_s):  # ranks work side by side
        point = CurvePoint(
            level=fit.level,
            step=before.step + step,
            seconds=before.seconds + seconds,
            parameters=stored,
            psnr_db=psnr_of_sse(inactive_sse + sse, n_values),
        )
        points.append(point)
    last = replace(
        points[-1],
        seconds=before.seconds + after.wall_time_s,
        parameters=stored,
        psnr_db=after.psnr_db,
    )
    return [*points, last]


_LOG = logging.getLogger("miner")


class FitProgress:
    """Two bars: levels, and block steps of the present level with its chunks."""

    def __init__(self, n_levels: int, is_shown: bool = True) -> None:
        """Prepare the bars; they are shown inside a `with` statement, in a terminal."""
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            transient=True,
            disable=not (is_shown and get_console().is_terminal),
        )
        self._levels = self._bars.add_task("levels", total=n_levels, note="")
        self._blocks: TaskID | None = None

    def __enter__(self) -> Self:
        """Show the bars."""
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Take the bars away."""
        self._bars.stop()

    def start_level(self, level: int, n_block_steps: int) -> None:
        """Begin a level's bar."""
        self._blocks = self._bars.add_task(f"level {level}", total=n_block_steps, note="")

    def start_chunk(self, done: int, total: int) -> None:
        """Say how many chunks are done."""
        if self._blocks is not None:
            self._bars.update(self._blocks, note=f"chunk {done + 1} of {total}")

    def advance(self, n_block_steps: int) -> None:
        """Count block steps that were done or spared."""
        if self._blocks is not None:
            self._bars.advance(self._blocks, n_block_steps)

    def finish_level(self, record: LevelRecord) -> None:
        """Print the level's line."""
        if self._blocks is not None:
            self._bars.remove_task(self._blocks)
        self._bars.advance(self._levels)
        _LOG.info(
            "level %d  %dx%d  %d of %d blocks active, %d converged, %d started fresh  "
            "%.2f dB  %.1f s",
            record.level,
            record.width_px,
            record.height_px,
            record.n_active,
            record.n_blocks,
            record.n_converged,
            record.n_fresh,
            record.psnr_db,
            record.wall_time_s,
        )
        if record.n_diverged:
            _LOG.warning(
                "level %d: %d blocks diverged and were fitted again at a tenth of optimizer.lr, "
                "which is too high for them",
                record.level,
                record.n_diverged,
            )
