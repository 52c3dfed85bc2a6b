"""`FAILURE="rank shard failure" python -m failing_run ...`: a command of which one rank fails.

It fails before its shard of that number is complete, counted over levels, while the other ranks
fit a chunk of the finest level. With one of `CALLS` for the number it fails there.
"""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy, StrategyRegistry
from runs import before_shards

from miner.engine.trainer import DDP, BlocksDDP
from miner.metrics.scores import Evaluation
from miner.representation import Shard
from miner.run import main

CALLS = {
    "first": (DDPStrategy, "setup_environment"),
    "last": (Evaluation, "scores"),
    "after": (DDPStrategy, "teardown"),
}
"""Before the first and last time that the ranks wait for each other, and after that."""


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill_disk() -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "shard")


def fault() -> None:
    raise ValueError("a fault")


def interrupt() -> None:
    """Ctrl-C in a terminal, which every process of the foreground gets."""
    os.killpg(os.getpgid(0), signal.SIGINT)


def terminate() -> None:
    """The signal that a batch system sends to the first process."""
    os.kill(os.getpgid(0), signal.SIGTERM)
    time.sleep(60)


def stop() -> None:
    """Stopped, as by Ctrl-Z; after a while the first process is terminated."""
    subprocess.Popen(["sh", "-c", f"sleep 4; kill -TERM {os.getppid()}"])
    os.kill(os.getpid(), signal.SIGSTOP)


def fail_at_shard(rank: int, number: int, fail: Callable[[], None]) -> None:
    def act(n_before: int, path: Path) -> None:
        if dist.get_rank() == rank and n_before == number:
            time.sleep(1)
            fail()
        elif dist.get_rank() != rank and path.name.startswith("level00") and fail is not stop:
            time.sleep(4)

    before_shards(pytest.MonkeyPatch(), act)


def fail_at_call(rank: int, owner: type, method: str, fail: Callable[[], None]) -> None:
    called = getattr(owner, method)

    def failing(*arguments: Any) -> Any:
        if int(os.environ["LOCAL_RANK"]) == rank:
            fail()
        return called(*arguments)

    pytest.MonkeyPatch().setattr(owner, method, failing)


class Late(pl.Callback):
    """Rank 1 takes longer than ranks have to find each other; first Lightning waits, then we do."""

    def __init__(self) -> None:
        settings = {"process_group_backend": "gloo", "timeout": timedelta(seconds=20)}
        StrategyRegistry.register(DDP, BlocksDDP, override=True, **settings)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_rank == 1:
            time.sleep(30)

    def on_chunk_end(self, trainer: pl.Trainer, module: pl.LightningModule, shard: Shard) -> None:
        if trainer.global_rank == 1 and shard.level == 1:
            time.sleep(30)


if __name__ == "__main__":
    rank, at, name = os.environ["FAILURE"].split()
    if at in CALLS:
        fail_at_call(int(rank), *CALLS[at], globals()[name])
    else:
        fail_at_shard(int(rank), int(at), globals()[name])
    main()
