"""The Lightning trainer of a run, and the end of all its processes."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch.distributed as dist
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import DDPStrategy

from miner.engine.module import MinerModule
from miner.engine.ranks import Ranks, release_started
from miner.support.errors import ConfigError

_RENDEZVOUS = timedelta(minutes=5)  # until all are there; `Ranks` makes other process groups
_NOISY = ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.distributed")
_ADVICE = (  # which does not apply here
    ".*LeafSpec.*",
    ".*Experiment logs directory.*",  # of a resumed run; the curve is logged anew
)


class UnwrappedDDP(DDPStrategy):
    """Lightning starts and joins the processes; see `Ranks` for what they exchange."""

    def configure_ddp(self) -> None:
        """Wrap nothing: the processes share no parameter."""


def make_trainer(
    n_levels: int, settings: Mapping[str, Any], loggers: Sequence[Logger], folder: Path
) -> pl.Trainer:
    """A trainer whose epochs are pyramid levels; `settings` are those of the `trainer` group."""
    environment: Any = LightningEnvironment()
    strategy: Any = settings["strategy"]
    if strategy == "ddp":
        strategy = UnwrappedDDP(process_group_backend="gloo", timeout=_RENDEZVOUS)
        environment = None  # Lightning finds it
        if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
            # a run that is started again resumes: Lightning has no checkpoint to requeue
            environment = SLURMEnvironment(auto_requeue=False)
    return pl.Trainer(
        **{**settings, "strategy": strategy},
        plugins=environment,
        logger=list(loggers),
        max_epochs=n_levels,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        log_every_n_steps=1,
    )


def run_until_all_end(trainer: pl.Trainer, module: MinerModule) -> None:
    """Fit; an error of one rank ends all.

    Raises `RankError` if another rank has failed, `ConfigError` if the ranks have not found each
    other, and `KeyboardInterrupt` where Lightning would leave.
    """
    try:
        trainer.fit(module, range(1), range(1))  # one step each for every level
        if isinstance(module.ranks, Ranks):
            module.ranks.close()
    except BaseException as error:
        cause = KeyboardInterrupt() if isinstance(error, SystemExit) else error
        ranks = module.ranks
        cause = ranks.abort(cause) if isinstance(ranks, Ranks) else _abort_start(trainer, cause)
        if cause is error:
            raise
        raise cause from None


def _abort_start(trainer: pl.Trainer, error: BaseException) -> BaseException:
    """End the processes that were started, of which none has joined; gives an error's cause."""
    for process in release_started(trainer):
        process.kill()  # in a process group it does not react to other signals
    if not isinstance(error, dist.DistError):
        return error
    address, port = (os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT"))
    return ConfigError(
        f"MASTER_PORT={port}: the processes of this run found no connection at {address} "
        f"({error}); set MASTER_ADDR to the first machine and MASTER_PORT to a port that is free "
        "there"
    )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hold back Lightning's advice, which does not apply here; its log stays at warnings."""
    noisy = {logging.getLogger(name): logging.getLogger(name).level for name in _NOISY}
    for logger in noisy:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _ADVICE:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in noisy.items():
            logger.setLevel(level)
