"""What a run's loggers get beyond the metrics of its levels: pictures, the report, the sweep."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pytorch_lightning.loggers import Logger, TensorBoardLogger

from miner.visual.display import RGBImage


@runtime_checkable
class ResultLogger(Protocol):
    """A logger that shows the final report and pictures, and stays open for them after the fit."""

    def log_results(self, report: Mapping[str, Any], pictures: Mapping[str, RGBImage]) -> None:
        """Log the report's numbers, and pictures by name."""

    def finish(self, succeeded: bool) -> None:
        """Close it."""


def takes_sweep(logger: Callable[..., Logger]) -> bool:
    """Whether a logger has an argument `sweep`: the sweep that the run belongs to."""
    return "sweep" in inspect.signature(logger).parameters


def remove_earlier_events(logger: Logger) -> None:
    """Remove TensorBoard's files of an earlier start of the run, whose curve is logged anew."""
    if isinstance(logger, TensorBoardLogger):
        for events in Path(logger.log_dir).glob("events.out.tfevents.*"):
            events.unlink()


def log_results(
    loggers: Sequence[Logger], report: Mapping[str, Any], draw: Callable[[], Mapping[str, RGBImage]]
) -> None:
    """Log a report, in TensorBoard as `report/...`, and pictures, drawn only if a logger can."""
    shown = [one for one in loggers if isinstance(one, ResultLogger | TensorBoardLogger)]
    pictures = draw() if shown else {}
    for logger in shown:
        if isinstance(logger, ResultLogger):
            logger.log_results(report, pictures)
            continue
        for name, picture in pictures.items():
            logger.experiment.add_image(name, picture, dataformats="HWC")
        for name, value in report.items():
            if isinstance(value, int | float):
                logger.experiment.add_scalar(f"report/{name}", value)
