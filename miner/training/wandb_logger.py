"""Weights & Biases: offline unless asked otherwise, and never a reason for a run to fail."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from pytorch_lightning.loggers import WandbLogger

from miner.training.loggers import Picture

_LOG = logging.getLogger("miner")
_INIT_TIMEOUT_S = 5.0


class WandbRun(WandbLogger):
    """A W&B run in the run's folder, with its axes defined."""

    def __init__(
        self,
        save_dir: Path,
        project: str = "miner",
        offline: bool = True,
        group: str | None = None,
        tags: Sequence[str] = (),
        notes: str | None = None,
    ) -> None:
        """Start the run; without account or network an online run goes on offline."""
        save_dir.mkdir(parents=True, exist_ok=True)
        arguments = {
            "project": project,
            "group": group,
            "tags": list(tags),
            "notes": notes,
            "dir": str(save_dir),
            "job_type": "fit",
        }
        run = _start_offline(arguments) if offline else _start_online(arguments)
        _define_axes(run)
        super().__init__(experiment=run, save_dir=str(save_dir), offline=run.offline)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log with the metrics' own axes; W&B's counter only says in which order they came."""
        doubled = dict(metrics)
        if "fit/psnr_db" in metrics:
            for axis in ("seconds", "parameters"):
                doubled[f"fit/psnr_db_by_{axis}"] = metrics["fit/psnr_db"]
        self.experiment.log(doubled)

    def log_results(self, report: Mapping[str, Any], pictures: Mapping[str, Picture]) -> None:
        """Put the report's numbers into the summary, and log the pictures."""
        self.experiment.log({name: wandb.Image(array) for name, array in pictures.items()})
        scalars = (int, float, str, bool, type(None))
        self.experiment.summary.update(
            {name: value for name, value in report.items() if isinstance(value, scalars)}
        )

    def finalize(self, status: str) -> None:
        """Nothing: results are still to come when the fit ends; `finish` closes the run."""

    def finish(self, succeeded: bool) -> None:
        """Close the run, so that the next job of a sweep gets its own."""
        self.experiment.finish(exit_code=0 if succeeded else 1)


def _define_axes(run: "wandb.Run") -> None:
    for axis in ("fit/step", "fit/seconds", "fit/parameters", "level/level"):
        run.define_metric(axis, hidden=axis != "fit/step")
    run.define_metric("fit/psnr_db", step_metric="fit/step", summary="last")
    for axis in ("seconds", "parameters"):
        run.define_metric(f"fit/psnr_db_by_{axis}", step_metric=f"fit/{axis}", summary="last")
    run.define_metric("level/*", step_metric="level/level")


def _start_offline(arguments: Mapping[str, Any]) -> "wandb.Run":
    return wandb.init(mode="offline", settings=wandb.Settings(silent=True), **arguments)


def _start_online(arguments: Mapping[str, Any]) -> "wandb.Run":
    # Without credentials wandb.init would ask for them at the terminal.
    if not wandb.login(prompt=False, verify=False):
        _LOG.warning("logger.wandb.offline=false: no W&B account is set up (wandb login); offline")
        return _start_offline(arguments)
    try:
        settings = wandb.Settings(init_timeout=_INIT_TIMEOUT_S, silent=True)
        return wandb.init(mode="online", settings=settings, **arguments)
    except (wandb.errors.Error, TimeoutError, OSError) as error:
        reason = str(error).splitlines()[0]
        _LOG.warning("logger.wandb.offline=false: W&B cannot be reached (%s); offline", reason)
        return _start_offline(arguments)
