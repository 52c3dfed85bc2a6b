"""Lightning's own loggers, writing into the run's folder, and what is logged after a fit."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

RGBImage = NDArray[np.uint8]


@runtime_checkable
class TakesResults(Protocol):
    """A logger that shows pictures and the final report."""

    def log_results(self, report: Mapping[str, Any], pictures: Mapping[str, RGBImage]) -> None:
        """Take the report's numbers and pictures `(H, W, 3)` by name."""


@runtime_checkable
class Finishes(Protocol):
    """A logger that stays open for what is logged after the fit."""

    def finish(self, succeeded: bool) -> None:
        """Close it."""


def takes_sweep(logger: Callable[..., Logger]) -> bool:
    """Whether a logger is told which sweep the run is part of, by an argument `sweep`."""
    return "sweep" in inspect.signature(logger).parameters


def log_results(
    loggers: Sequence[Logger],
    report: Mapping[str, Any],
    draw: Callable[[], Mapping[str, RGBImage]],
) -> None:
    """Send a report to the loggers that take one, with pictures, drawn only if there are any."""
    takers = [logger for logger in loggers if isinstance(logger, TakesResults)]
    pictures = draw() if takers else {}
    for taker in takers:
        taker.log_results(report, pictures)


class TensorBoardRun(TensorBoardLogger):
    """TensorBoard with pictures and final numbers."""

    def log_results(self, report: Mapping[str, Any], pictures: Mapping[str, RGBImage]) -> None:
        """Add pictures, and final numbers under `report/`."""
        for name, picture in pictures.items():
            self.experiment.add_image(name, picture, dataformats="HWC")
        for name, value in report.items():
            if isinstance(value, int | float):
                self.experiment.add_scalar(f"report/{name}", value)


def csv_logger(save_dir: Path) -> Logger:
    """Metrics in `csv/metrics.csv`."""
    return CSVLogger(save_dir, name="csv", version="")


def tensorboard_logger(save_dir: Path) -> Logger:
    """Event files in `tensorboard/`; those of an earlier start go."""
    for events in (save_dir / "tensorboard").glob("events.out.tfevents.*"):
        events.unlink()
    return TensorBoardRun(save_dir, name="tensorboard", version="", default_hp_metric=False)
