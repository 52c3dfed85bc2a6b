"""What a run's loggers get beyond the metrics of its levels: pictures, the report, the sweep."""

from collections.abc import Mapping
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
