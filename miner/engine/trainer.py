"""The Lightning trainer of a run, and the end of all its processes."""

import logging
import os
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from threading import Event, Thread

import pytorch_lightning as pl
import torch.distributed as dist
from hydra.utils import instantiate
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import DDPStrategy, StrategyRegistry

from miner.config.build import build_component, callback_names
from miner.config.trainer import DDP, REFUSED_CALLBACKS
from miner.engine.ranks import STARTER, Ranks, end_with_starter
from miner.engine.scoring import ScoredModule
from miner.support.errors import ConfigError

_NOT_LIGHTNINGS = ("callbacks", "fast_dev_run", "enable_progress_bar")  # handled here
_RENDEZVOUS = timedelta(minutes=5)  # until all are there; `Ranks` lifts it then
_NOISY = ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.distributed")
_ADVICE = (  # which does not apply here
    ".*LeafSpec.*",
    ".*`self.log.*sync_dist=True.*",  # all ranks know the same numbers
    ".*returned `None`, this fit will run with no optimizer.*",
    ".*`training_step` returned `None`.*",  # of a codec, and of a loss that is not finite
    ".*Experiment logs directory.*",  # of a resumed run; the curve is logged anew
)


class BlocksDDP(DDPStrategy):
    """Lightning starts and joins the processes; see `Ranks` for what they exchange."""

    def setup_environment(self) -> None:
        """Join the processes."""
        are_joined = Event()
        if self.local_rank > 0 and isinstance(self.cluster_environment, LightningEnvironment):
            Thread(target=end_with_starter, args=(are_joined,), daemon=True).start()
        super().setup_environment()
        are_joined.set()

    def configure_ddp(self) -> None:
        """Wrap nothing: the processes share no parameter."""


StrategyRegistry.register(
    DDP, BlocksDDP, override=True, process_group_backend="gloo", timeout=_RENDEZVOUS
)


def make_callbacks(config: DictConfig) -> list[pl.Callback]:
    """A configuration's callbacks, those that run last at the end; may raise `ConfigError`."""
    found = [build_component(name, pl.Callback, config) for name in callback_names(config)]
    return sorted(found, key=lambda callback: getattr(callback, "runs_last", False))


def make_trainer(
    settings: DictConfig, callbacks: Sequence[pl.Callback] = (), loggers: Sequence[Logger] = ()
) -> pl.Trainer:
    """A trainer whose epochs are pyramid levels; `settings` are those of the `trainer` group.

    Raises `ConfigError` for two progress bars, for a callback that has no meaning here, and for
    devices that Lightning does not find.
    """
    for callback in callbacks:
        if not isinstance(callback, pl.Callback):
            raise ConfigError(f"callbacks: {callback!r} must be an object of Lightning's Callback")
        for name, reason in REFUSED_CALLBACKS.items():
            if isinstance(callback, getattr(pl.callbacks, name, ())):  # some versions lack one
                raise ConfigError(f"callbacks: leave out {type(callback).__name__}: {reason}")
    bars = [callback for callback in callbacks if isinstance(callback, ProgressBar)]
    if len(bars) > 1:
        names = " and ".join(type(bar).__name__ for bar in bars)
        raise ConfigError(f"callbacks: {names} are two progress bars; add callbacks.progress=null")
    is_shown = bool(settings.enable_progress_bar and bars)
    own = {name: value for name, value in settings.items() if name not in _NOT_LIGHTNINGS}
    make = instantiate(own, _partial_=True, _convert_="all")
    try:
        trainer: pl.Trainer = make(
            plugins=_environment(settings.strategy),
            callbacks=[one for one in callbacks if is_shown or one not in bars],
            logger=list(loggers),
            max_epochs=1,  # `SignalData` sets the number of levels
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_progress_bar=is_shown,
            enable_model_summary=False,
            log_every_n_steps=1,
            inference_mode=False,  # what is rendered is trained on
        )
    except (MisconfigurationException, RuntimeError) as error:  # too many GPUs, Slurm's tasks
        raise ConfigError(" ".join(str(error).split())) from error
    return trainer


def _environment(strategy: str) -> ClusterEnvironment | None:
    """Who starts the processes; None lets Lightning find out."""
    if strategy == "auto":
        return LightningEnvironment()
    if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        # a run that is started again resumes: Lightning has no checkpoint to requeue
        return SLURMEnvironment(auto_requeue=False)
    return None


def fit_on_all_ranks(
    trainer: pl.Trainer, module: ScoredModule, data: pl.LightningDataModule
) -> None:
    """Fit; an error of one rank ends all.

    Raises `RunError` if another rank has failed, `ConfigError` if the ranks have not found each
    other or one of Lightning's callbacks refuses its settings, and `KeyboardInterrupt` where
    Lightning would leave.
    """
    if trainer.local_rank == 0:
        os.environ[STARTER] = str(os.getpid())  # of the processes that Lightning starts
    try:
        trainer.fit(module, datamodule=data)
    except BaseException as error:
        cause = KeyboardInterrupt() if isinstance(error, SystemExit) else error
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        is_callbacks = frame.f_globals["__name__"].startswith("pytorch_lightning.callbacks.")
        is_setting = isinstance(error, MisconfigurationException)  # as a `monitor` not logged
        if is_setting or (isinstance(error, RuntimeError) and is_callbacks):
            cause = ConfigError(" ".join(str(error).split()))
        if isinstance(ranks := getattr(data, "ranks", None), Ranks):
            cause = ranks.abort(cause)
        for process in getattr(trainer.strategy.launcher, "procs", ()):  # none has joined
            process.kill()
        if isinstance(cause, dist.DistError):
            address, port = (os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT"))
            cause = ConfigError(
                f"MASTER_PORT={port}: the processes of this run found no connection at {address} "
                f"({cause}); set MASTER_ADDR to the first machine and MASTER_PORT to a port that "
                "is free there"
            )
        if cause is error:
            raise
        raise cause from None


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hold back Lightning's advice, which does not apply here; its log stays at warnings."""
    with warnings.catch_warnings(), ExitStack() as stack:
        for logger in map(logging.getLogger, _NOISY):
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.WARNING)
        for message in _ADVICE:
            warnings.filterwarnings("ignore", message=message)
        yield
