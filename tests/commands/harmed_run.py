"""`HARM="rank chunk harm" python -m harmed_run ...`: the command, of which a rank comes to harm.

It does when it begins its chunk of that number, counted over levels; the other ranks are in the
midst of a long chunk then, if it is the finest level's.
"""

import errno
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from miner.fitting.level import LevelFit
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
    """A batch system's end, of which the process that was started is told."""
    os.kill(os.getpgid(0), signal.SIGTERM)
    time.sleep(60)


def harmed(rank: int, at: int, harm: Callable[[], None]) -> Callable[..., Any]:
    fit_chunk, begun = LevelFit.fit_chunk, []

    def fit(self: LevelFit, *arguments: Any) -> Any:
        begun.append(self)
        if dist.get_rank() == rank and len(begun) == at + 1:
            time.sleep(1)
            harm()
        elif self.level == 0 and dist.get_rank() != rank:
            time.sleep(60)
        return fit_chunk(self, *arguments)

    return fit


if __name__ == "__main__":
    rank, at, name = os.environ["HARM"].split()
    LevelFit.fit_chunk = harmed(int(rank), int(at), globals()[name])  # type: ignore[method-assign]
    main()
