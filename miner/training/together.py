"""One `Trainer.fit` among several processes: it ends for all of them, whatever happens to one."""

import logging
import os
import signal
from pathlib import Path

import pytorch_lightning as pl
import torch.distributed as dist

from miner.schema import ConfigError
from miner.training.failures import TOLD, reason_of
from miner.training.module import PyramidModule
from miner.training.ranks import Ranks
from miner.training.trainer import take_started

_LOG = logging.getLogger("miner")


def run_together(trainer: pl.Trainer, module: PyramidModule) -> None:
    """Fit; what one rank raises ends the others.

    Raises:
        ConfigError: the ranks did not meet.
        RankError: another rank has failed or was killed.
        KeyboardInterrupt: where Lightning would leave.
    """
    try:
        trainer.fit(module)
        if isinstance(module.ranks, Ranks):
            module.ranks.part()
    except BaseException as error:
        cause = KeyboardInterrupt() if isinstance(error, SystemExit) else error
        if isinstance(module.ranks, Ranks):
            cause = _end_all(module.ranks, cause, Path(trainer.default_root_dir))
        else:
            cause = _end_unmet(trainer, cause)
        if cause is error:
            raise
        raise cause from None


def _end_unmet(trainer: pl.Trainer, error: BaseException) -> BaseException:
    """End what was started; why the run ends."""
    for process in take_started(trainer):
        process.kill()  # what waits for others in a process group hears nothing else
    if not isinstance(error, dist.DistError):
        return error
    address, port = (os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT"))
    return ConfigError(
        f"MASTER_PORT={port}: the processes of this run did not meet at {address} ({error}); set "
        "MASTER_ADDR to the first machine and MASTER_PORT to a port that is free there"
    )


def _end_all(ranks: Ranks, error: BaseException, folder: Path) -> BaseException:
    """Why the run ends, on rank 0; the other ranks are left here."""
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # by which `Ranks` tells of others
    cause = ranks.failure(error)
    if ranks.rank > 0 and isinstance(cause, Exception) and not isinstance(cause, TOLD):
        _LOG.error("this rank failed", exc_info=cause)
    ranks.give_up(reason_of(cause, folder) if isinstance(cause, Exception) else None)
    signal.signal(signal.SIGTERM, handler)
    return cause
