"""The report of a run and its curve of quality, in its folder and in its loggers."""

import logging
import math
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from miner.callbacks.base import Callback
from miner.callbacks.pictures import Pictures
from miner.engine.module import LevelResult, MinerModule
from miner.engine.records import CurvePoint, build_report, remarks
from miner.engine.scoring import ScoredModule
from miner.fitting.block_fit import merge_curves, no_longer_than
from miner.metrics.scores import psnr_of_sse
from miner.support.run_files import REPORT, write_report

_LOG = logging.getLogger("miner")


class QualityCurve(Callback):
    """Adds `curve` to the report, and logs it as `fit/...` and a level's numbers as `level/...`."""

    def __init__(self) -> None:
        self._points: list[CurvePoint] = []

    def on_level_end(self, trainer: pl.Trainer, module: MinerModule, result: LevelResult) -> None:
        """Add the level's points, and log its numbers."""
        points = level_points(result, self._points[-1] if self._points else None)
        self.on_points(trainer, module, points)
        fields = result.record._asdict().items()
        values = {f"level/{name}": float(value) for name, value in fields}
        for logger in trainer.loggers:
            logger.log_metrics(values, step=points[-1].step)

    def on_points(
        self, trainer: pl.Trainer, module: ScoredModule, points: Sequence[CurvePoint]
    ) -> None:
        """Add and log points."""
        self._points += points
        columns = CurvePoint._fields
        module.extra["curve"] = {name: [getattr(p, name) for p in self._points] for name in columns}
        for logger in trainer.loggers:  # Lightning's own count of steps stays 0
            for point in points:
                values = {f"fit/{name}": float(getattr(point, name)) for name in columns[1:]}
                logger.log_metrics(values, step=point.step)


def level_points(result: LevelResult, last: CurvePoint | None) -> Sequence[CurvePoint]:
    """A level's quality over its steps, as if its chunks were fitted in parallel.

    It goes on from the coarser levels' `last` point, with the prediction, up to the record. Points
    between are measured in training, unclipped and before anything is rounded.
    """
    fit, shards, record, start_s = result
    step, n_parameters = (last.step, last.parameters) if last else (0, 0)

    def psnr(sse: float) -> float:
        return psnr_of_sse(sse, fit.n_predicted) if fit.n_predicted else math.nan

    points = [CurvePoint(fit.level, step, start_s, n_parameters, psnr(fit.clipped_sse))]
    n_parameters += record.n_parameters
    inactive_sse = max(0.0, fit.predicted_sse - fit.active_sse)
    chunks = merge_curves([shard.stats.curve for shard in shards])
    for done, later, sse in no_longer_than(chunks, record.wall_time_s):  # ranks run in parallel
        quality = psnr(inactive_sse + sse)
        at, refit = start_s + later, (done - 1) // fit.n_steps
        points.append(CurvePoint(fit.level, step + done, at, n_parameters, quality, refit))
    end = start_s + record.wall_time_s
    return [*points, points[-1]._replace(seconds=end, psnr_db=record.psnr_db)]


class LoggerMedia(Callback):
    """Gives loggers the report's numbers as `report/...`, and pictures that `Pictures` has written.

    A logger of another package takes pictures if it has Lightning's `log_image(key, images)`. One
    with `log_results(report, pictures)` gets the whole report, and `finish(succeeded)` at the end.
    """

    def on_scored(self, trainer: pl.Trainer, module: ScoredModule) -> None:
        """Log both; pictures are drawn only if a logger can show them."""
        if not trainer.is_global_zero:
            return
        drawn = [one for one in trainer.callbacks if isinstance(one, Pictures)]  # type: ignore[attr-defined]

        @cache
        def draw() -> Mapping[str, Any]:
            return drawn[0].media(record.level for record in module.records) if drawn else {}

        report = build_report(module)
        numbers = {f"report/{k}": v for k, v in report.items() if isinstance(v, int | float)}
        for logger in trainer.loggers:
            if hasattr(logger, "log_results"):
                logger.log_results(report, draw())
                continue
            logger.log_metrics(numbers)
            if isinstance(logger, TensorBoardLogger):
                for name, picture in draw().items():
                    logger.experiment.add_image(name, picture, dataformats="HWC")
            elif hasattr(logger, "log_image"):
                for name, picture in draw().items():
                    logger.log_image(name, [picture])


class Report(Callback):
    """Writes `report.json`, after all other callbacks, and prints the scores."""

    files, runs_last = (REPORT,), True

    def __init__(self, dirpath: str | Path) -> None:
        self._folder = Path(dirpath)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the report of an earlier start: this one is not finished yet."""
        if trainer.is_global_zero:
            (self._folder / REPORT).unlink(missing_ok=True)

    def on_scored(self, trainer: pl.Trainer, module: ScoredModule) -> None:
        """Write the report."""
        if not trainer.is_global_zero:
            return
        report = build_report(module)
        write_report(self._folder, report)
        ssim = "-" if report["ssim"] is None else f"{report['ssim']:.4f}"
        _LOG.info(
            "PSNR %(psnr_db).2f dB  SSIM %(ssim)s  %(size)s  fit %(fit_time_s).1f s, all "
            "%(wall_time_s).1f s  in %(folder)s",
            report | {"ssim": ssim, "size": _size(report), "folder": self._folder},
        )
        if report["status"] == "stopped":
            remedy = f"; to go on: python -m miner.run resume={shlex.quote(str(self._folder))}"
            _LOG.warning("stopped early%s", "" if module.folder is None else remedy)
            return
        for remark in remarks(module):
            _LOG.info("%s", remark)


def _size(report: Mapping[str, Any]) -> str:
    """The number of parameters, or the bits of what has none."""
    if report["n_parameters"] is None:
        return f"{report['bits_per_pixel']:.3f} bits per pixel"
    return f"{report['n_parameters']} parameters ({report['parameters_per_pixel']:.3f} per pixel)"
