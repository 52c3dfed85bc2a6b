"""`FAILURE="rank shard failure" python -m failing_run ...`: a command of which one rank fails.

It fails before its shard of that number is complete, counted over levels; the other ranks wait in
the midst of a chunk of the finest level. With `FAILURE="rank end failure"` it fails after the fit.
With `FAILURE="rank late seconds"` it only takes so long for its first shard, and the ranks have 20
seconds to find each other.
"""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy, StrategyRegistry
from runs import before_shards

from miner.run import main


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


def fail_at_end(rank: int, fail: Callable[[], None]) -> None:
    teardown = DDPStrategy.teardown

    def failing(self: DDPStrategy) -> None:
        if dist.get_rank() == rank:
            fail()
        teardown(self)

    pytest.MonkeyPatch().setattr(DDPStrategy, "teardown", failing)


def be_late(rank: int, seconds: float) -> None:
    from miner.engine.trainer import DDP, BlocksDDP

    timeout = {"process_group_backend": "gloo", "timeout": timedelta(seconds=20)}
    StrategyRegistry.register(DDP, BlocksDDP, override=True, **timeout)

    def act(n_before: int, path: Path) -> None:
        if dist.get_rank() == rank and n_before == 0:
            time.sleep(seconds)

    before_shards(pytest.MonkeyPatch(), act)


if __name__ == "__main__":
    rank, at, name = os.environ["FAILURE"].split()
    if at == "late":
        be_late(int(rank), float(name))
    elif at == "end":
        fail_at_end(int(rank), globals()[name])
    else:
        fail_at_shard(int(rank), int(at), globals()[name])
    main()
