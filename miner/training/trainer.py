"""The Lightning trainer of a run."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger


def make_trainer(
    n_levels: int, settings: Mapping[str, Any], loggers: Sequence[Logger], folder: Path
) -> pl.Trainer:
    """A trainer whose epochs are pyramid levels; `settings` are those of the `trainer` group.

    The loader is asked for anew at every epoch, because only then is a level's deal known. Its
    own bars, checkpoints and sanity check have nothing to do here.
    """
    return pl.Trainer(
        **settings,
        logger=list(loggers),
        max_epochs=n_levels,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        log_every_n_steps=1,
    )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hold back Lightning's advice that does not apply here: loaders of one batch."""
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            # of a run that is taken up; the curve is logged anew
            warnings.filterwarnings("ignore", message=".*Experiment logs directory.*")
            yield
    finally:
        logger.setLevel(level)
