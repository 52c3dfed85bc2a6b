"""The Lightning trainer of a run."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from miner.engine.ranks import Ranks
from miner.support.communication import SINGLE_PROCESS, SingleProcess

_MEETING = timedelta(minutes=5)  # until all are there; what comes then has groups of its own


_NOISY = ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.distributed")


class BlocksApart(DDPStrategy):
    """Processes that share no parameter: Lightning starts and joins them, and wraps nothing."""

    def __init__(self) -> None:
        """Processes of this machine and others; see `Ranks` for what they exchange."""
        super().__init__(process_group_backend="gloo", timeout=_MEETING)

    def configure_ddp(self) -> None:
        """No gradient is exchanged, so there is nothing to wrap."""


def make_trainer(
    n_levels: int, settings: Mapping[str, Any], loggers: Sequence[Logger], folder: Path
) -> pl.Trainer:
    """A trainer whose epochs are pyramid levels; `settings` are those of the `trainer` group.

    The loader is asked for anew at every epoch, because only then is a level's deal known. Its
    own bars, checkpoints and sanity check have nothing to do here.
    """
    is_ddp = settings["strategy"] == "ddp"
    strategy = BlocksApart() if is_ddp else settings["strategy"]
    return pl.Trainer(
        **{**settings, "strategy": strategy},
        plugins=_starter() if is_ddp else LightningEnvironment(),
        logger=list(loggers),
        max_epochs=n_levels,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        log_every_n_steps=1,
    )


def _starter() -> ClusterEnvironment | None:
    """Who has started the processes; None for what Lightning finds by itself."""
    if TorchElasticEnvironment.detect() or not SLURMEnvironment.detect():
        return None
    # a run that is started again goes on by itself: Lightning has no checkpoint to requeue
    return SLURMEnvironment(auto_requeue=False)


def rendezvous(trainer: pl.Trainer, clear: Callable[[], None]) -> SingleProcess | Ranks:
    """The ranks of a trainer whose process group is there; see `Ranks` for `clear`.

    From here on it is `Ranks` that notices the end of a process: Lightning's own observer would
    kill this one too, before it could say why.

    Raises:
        RuntimeError: one of them is gone.
    """
    if trainer.world_size == 1:
        return SINGLE_PROCESS
    return Ranks(Path(trainer.default_root_dir), take_started(trainer), clear)


def take_started(trainer: pl.Trainer) -> "list[Popen[bytes]]":
    """The processes that a trainer has started, which its observer forgets."""
    launcher = trainer.strategy.launcher
    if not isinstance(launcher, _SubprocessScriptLauncher):
        return []
    started = list(launcher.procs)
    launcher.procs.clear()
    return started


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hold back Lightning's advice that does not apply here: loaders of one batch."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            # of a run that is taken up; the curve is logged anew
            warnings.filterwarnings("ignore", message=".*Experiment logs directory.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
