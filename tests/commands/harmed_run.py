"""`HARM="rank chunk harm" python -m harmed_run ...`: the command, of which a rank comes to harm.

It does when it begins its chunk of that number, counted over levels; the other ranks are in the
midst of a long chunk then, if it is the finest level's, or wait for it where it is stopped. Or it
does at the fit's end: `HARM="rank end harm"`. Large arrays lie in files, however small they are.
"""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from miner.engine import ranks as meeting
from miner.fitting.level_fit import LevelFit
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


def stop() -> None:
    """Stopped, as by Ctrl-Z; in a while the process that was started is told to end."""
    subprocess.Popen(["sh", "-c", f"sleep 4; kill -TERM {os.getppid()}"])
    os.kill(os.getpid(), signal.SIGSTOP)


def ending_harmed(rank: int, harm: Callable[[], None]) -> Callable[..., Any]:
    part = meeting.Ranks.close

    def end(self: meeting.Ranks) -> None:
        if self.rank == rank:
            harm()
        part(self)

    return end


def harmed(rank: int, at: int, harm: Callable[[], None]) -> Callable[..., Any]:
    fit_chunk, begun = LevelFit.fit_chunk, []

    def fit(self: LevelFit, *arguments: Any) -> Any:
        begun.append(self)
        if dist.get_rank() == rank and len(begun) == at + 1:
            time.sleep(1)
            harm()
        elif self.level == 0 and dist.get_rank() != rank and harm is not stop:
            time.sleep(60)
        return fit_chunk(self, *arguments)

    return fit


if __name__ == "__main__":
    rank, at, name = os.environ["HARM"].split()
    harm = globals()[name]
    if at == "end":
        meeting.Ranks.close = ending_harmed(int(rank), harm)  # type: ignore[method-assign]
    else:
        LevelFit.fit_chunk = harmed(int(rank), int(at), harm)  # type: ignore[method-assign]
    meeting.Ranks.__init__.__defaults__ = (5.0,)  # farewell_s
    main()
