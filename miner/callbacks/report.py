"""The report of a run, in its folder and in its loggers."""

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl

from miner.callbacks.base import Callback
from miner.callbacks.pictures import Pictures
from miner.engine.module import MinerModule
from miner.engine.records import build_report
from miner.loggers.base import log_results
from miner.support.run_files import REPORT, write_report

_LOG = logging.getLogger("miner")


class LoggerMedia(Callback):
    """Gives loggers the report's numbers, and the pictures that `Pictures` has written."""

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log both."""
        module = cast(MinerModule, pl_module)
        drawn = [one for one in trainer.callbacks if isinstance(one, Pictures)]  # type: ignore[attr-defined]

        def draw() -> Mapping[str, Any]:
            return drawn[0].media(module.representation) if drawn else {}

        log_results(trainer.loggers, build_report(module), draw)


class Report(Callback):
    """Writes `report.json`, after all other callbacks, and prints the scores."""

    runs_last = True

    def __init__(self, dirpath: str | Path) -> None:
        self._folder = Path(dirpath)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the report of an earlier start: this one is not finished yet."""
        if trainer.is_global_zero:
            (self._folder / REPORT).unlink(missing_ok=True)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the report."""
        module = cast(MinerModule, pl_module)
        report = build_report(module)
        write_report(self._folder, report)
        ssim = "-" if report["ssim"] is None else f"{report['ssim']:.4f}"
        _LOG.info(
            "PSNR %(psnr_db).2f dB  SSIM %(ssim)s  %(n_parameters)d parameters "
            "(%(parameters_per_pixel).3f per pixel)  fit %(fit_time_s).1f s, all "
            "%(wall_time_s).1f s  in %(folder)s",
            report | {"ssim": ssim, "folder": self._folder},
        )
        if report["status"] == "stopped":
            remedy = f"; to go on: python -m miner.run resume={shlex.quote(str(self._folder))}"
            _LOG.warning("stopped early%s", "" if module.folder is None else remedy)
