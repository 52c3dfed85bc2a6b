"""One `Trainer.fit` among several processes: it ends for all of them, whatever happens to one."""

import logging
import signal
from pathlib import Path

import pytorch_lightning as pl

from miner.training.failures import TOLD, reason_of
from miner.training.module import PyramidModule
from miner.training.ranks import Ranks

_LOG = logging.getLogger("miner")


def run_together(trainer: pl.Trainer, module: PyramidModule) -> None:
    """Fit; what one rank raises ends the others.

    Raises:
        RankError: another rank has failed or was killed.
        KeyboardInterrupt: where Lightning would leave.
    """
    try:
        trainer.fit(module)
    except BaseException as error:
        cause = KeyboardInterrupt() if isinstance(error, SystemExit) else error
        if isinstance(module.ranks, Ranks):
            cause = _end_all(module.ranks, cause, Path(trainer.default_root_dir))
        if cause is error:
            raise
        raise cause from None
    if isinstance(module.ranks, Ranks):
        module.ranks.part()


def _end_all(ranks: Ranks, error: BaseException, folder: Path) -> BaseException:
    """Why the run ends, on rank 0; the other ranks are left here."""
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # by which `Ranks` tells of others
    cause = ranks.failure(error)
    if ranks.rank > 0 and isinstance(cause, Exception) and not isinstance(cause, TOLD):
        _LOG.error("this rank failed", exc_info=cause)
    ranks.give_up(reason_of(cause, folder) if isinstance(cause, Exception) else None)
    signal.signal(signal.SIGTERM, handler)
    return cause
