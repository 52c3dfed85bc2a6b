"""The quality of a run over its steps, seconds and parameters."""

from collections.abc import Sequence
from typing import NamedTuple

import pytorch_lightning as pl

from miner.callbacks.base import Callback
from miner.engine.module import LevelResult, MinerModule
from miner.fitting.block_fit import merge_curves, no_longer_than
from miner.metrics.scores import psnr_of_sse


class CurvePoint(NamedTuple):
    """Quality during a fit; steps, seconds and parameters are counted over all levels."""

    level: int
    step: int
    seconds: float
    parameters: int
    psnr_db: float


class QualityCurve(Callback):
    """Adds `curve` to the report, and logs it as `fit/...` and a level's numbers as `level/...`."""

    def __init__(self) -> None:
        self._points: list[CurvePoint] = []

    def on_level_end(self, trainer: pl.Trainer, module: MinerModule, result: LevelResult) -> None:
        """Add the level's points."""
        points = level_points(result, self._points[-1] if self._points else None)
        self._points += points
        columns = CurvePoint._fields
        module.extra["curve"] = {name: [getattr(p, name) for p in self._points] for name in columns}
        for logger in trainer.loggers:  # Lightning's own count of steps stays 0
            for point in points:
                values = {f"fit/{name}": float(getattr(point, name)) for name in columns[1:]}
                logger.log_metrics(values, step=point.step)
            fields = result.record._asdict().items()
            values = {f"level/{name}": float(value) for name, value in fields}
            logger.log_metrics(values, step=points[-1].step)


def level_points(result: LevelResult, last: CurvePoint | None) -> Sequence[CurvePoint]:
    """A level's quality over its steps, as if its chunks were fitted in parallel.

    It goes on from the coarser levels' `last` point, with the prediction, up to the record. Points
    between are measured in training, unclipped and before anything is rounded.
    """
    fit, shards, record, start_s = result
    step, n_parameters = (last.step, last.parameters) if last else (0, 0)
    predicted = psnr_of_sse(fit.clipped_sse, fit.n_values)
    points = [CurvePoint(fit.level, step, start_s, n_parameters, predicted)]
    n_parameters += record.n_parameters
    inactive_sse = max(0.0, fit.predicted_sse - fit.active_sse)
    chunks = merge_curves([shard.stats.curve for shard in shards])
    for done, later, sse in no_longer_than(chunks, record.wall_time_s):  # ranks run in parallel
        quality = psnr_of_sse(inactive_sse + sse, fit.n_values)
        points.append(CurvePoint(fit.level, step + done, start_s + later, n_parameters, quality))
    end = start_s + record.wall_time_s
    points.append(CurvePoint(fit.level, points[-1].step, end, n_parameters, record.psnr_db))
    return points
