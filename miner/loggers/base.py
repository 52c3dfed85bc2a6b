"""What a run's loggers get beyond the metrics of its levels: pictures, the report, the sweep."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
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


def remove_earlier_events(logger: Logger) -> None:
    """Remove TensorBoard's files of an earlier start of the run, whose curve is logged anew."""
    if isinstance(logger, TensorBoardLogger):
        for events in Path(logger.log_dir).glob("events.out.tfevents.*"):
            events.unlink()


def log_results(
    loggers: Sequence[Logger], report: Mapping[str, Any], draw: Callable[[], Mapping[str, RGBImage]]
) -> None:
    """Log the report's numbers as `report/...`, and pictures, drawn only if a logger can.

    A logger of another package takes pictures if it has Lightning's `log_image(key, images)`.
    """
    draw = cache(draw)
    for logger in loggers:
        if isinstance(logger, ResultLogger):
            logger.log_results(report, draw())
            continue
        numbers = {name: value for name, value in report.items() if isinstance(value, int | float)}
        logger.log_metrics({f"report/{name}": value for name, value in numbers.items()})
        if isinstance(logger, TensorBoardLogger):
            for name, picture in draw().items():
                logger.experiment.add_image(name, picture, dataformats="HWC")
        elif hasattr(logger, "log_image"):
            for name, picture in draw().items():
                logger.log_image(name, [picture])
