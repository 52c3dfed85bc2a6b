"""The processes of one run: what they exchange, and what happens when one of them ends.

Rank 0 has a connection to each other rank, which both ends watch in a thread: the system closes it
when a process ends, but not when it is stopped or its machine vanishes. All goes through gloo, on
the CPU: several ranks may share a GPU.
"""

import logging
import os
import shlex
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from subprocess import Popen
from threading import Event, Thread, main_thread
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
import torch.distributed as dist

from miner.support.communication import Communicator
from miner.support.errors import RankError, UserError, error_summary

T = TypeVar("T")
_NO_TIMEOUT = timedelta(days=1000)  # the time of a level is unknown; deaths are noticed at once
_MESSAGE_BYTES = 2048
_INTERRUPTED = "interrupted"
_LOST = "this process was killed, ran out of memory, or lost its machine"
_SEND_TIMEOUT = timedelta(seconds=5)  # a stopped process does not receive
_POLL_S, _END_S = 0.2, 10.0
_LOG = logging.getLogger("miner")


class Ranks(Communicator):
    """The ranks of a run whose process group exists.

    `folder` is the run's; this process has `started` others; `clear` removes scratch files.
    """

    def __init__(
        self, folder: Path, started: Sequence["Popen[bytes]"], clear: Callable[[], None]
    ) -> None:
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        self._folder, self._started, self._clear = folder, started, clear
        self._group = dist.new_group(backend="gloo", timeout=_NO_TIMEOUT)
        self._connections = dist.new_group(backend="gloo", timeout=_NO_TIMEOUT)
        self._failure: str | None = None
        self._is_ending = Event()
        self._names = self.gather(f"rank {self.rank} on {socket.gethostname()}")
        self._peers = range(1, self.world_size) if self.rank == 0 else range(1)
        self._watchers = [Thread(target=self._watch, args=(n,), daemon=True) for n in self._peers]
        for watcher in self._watchers:
            watcher.start()

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in order; `RankError` if one has failed or was killed."""
        values: list[Any] = [None] * self.world_size
        errors: list[RuntimeError] = []

        def exchange() -> None:
            try:
                dist.all_gather_object(values, value, group=self._group)
            except RuntimeError as error:
                errors.append(error)

        # within the process group, this thread could not react to signals
        exchanging = Thread(target=exchange, daemon=True)
        exchanging.start()
        while exchanging.is_alive():
            exchanging.join(_POLL_S)
        if errors:
            raise RankError("the connection to another rank is closed") from errors[0]
        return values

    def detach(self) -> None:
        """Let the others end in any way: the rest of the run is this rank's alone."""
        self._is_ending.set()

    def close(self) -> None:
        """End this process, which has finished, but for rank 0."""
        if self.rank > 0:
            self._leave(0)
        for watcher in self._watchers:
            watcher.join(_END_S)  # Python crashes if it ends while they wait

    def abort(self, error: BaseException) -> BaseException:
        """End the other ranks after an error; gives its cause. Only rank 0 returns."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which `_watch` and torchrun send
        if isinstance(error, RuntimeError):
            self._is_ending.wait(2.0)  # an error of the process group may precede its reason
        self.detach()
        if self._failure is not None:
            error = RankError(
                f"{self._failure}; what is finished is kept: mend this and go on with "
                f"resume={shlex.quote(str(self._folder))}, on any number of devices"
            )
        message = _INTERRUPTED
        if isinstance(error, Exception):
            message = error_summary(error, self._folder)
            if self.rank > 0 and not isinstance(error, UserError):
                _LOG.error("this rank failed", exc_info=error)
        self._send(message)
        if self.rank > 0:
            self._leave(1)
        for process in self._started:
            process.kill()  # it may have been stopped
            process.wait()
        self.close()
        return error

    def _send(self, message: str) -> None:
        content = message.encode()[:_MESSAGE_BYTES].ljust(_MESSAGE_BYTES, b"\0")
        for peer in self._peers:
            with suppress(RuntimeError):  # it has ended before
                sending = torch.tensor(list(content), dtype=torch.uint8)
                sent = dist.isend(sending, peer, group=self._connections)
                if sent is not None:
                    sent.wait(_SEND_TIMEOUT)

    def _watch(self, peer: int) -> None:
        received = torch.zeros(_MESSAGE_BYTES, dtype=torch.uint8)
        with suppress(RuntimeError):  # the connection is closed
            dist.recv(received, src=peer, group=self._connections)
        message = bytes(received.tolist()).rstrip(b"\0").decode(errors="replace") or _LOST
        if self._is_ending.is_set():
            return
        if self.rank > 0:
            self._leave(1)  # rank 0 reports the reason
        if message != _INTERRUPTED:
            self._failure = f"{self._names[peer]}: {message}"
        elif self._is_ending.wait(1.0):  # Ctrl-C in a terminal reaches all ranks
            return
        self._is_ending.set()
        # wherever the main thread is, but within a process group
        signal.pthread_kill(main_thread().ident or 0, signal.SIGTERM)

    def _leave(self, status: int) -> None:
        try:
            self._clear()
        finally:
            logging.shutdown()
            os._exit(status)  # what is finished is in files


def release_started(trainer: pl.Trainer) -> list["Popen[bytes]"]:
    """The processes that a trainer has started; Lightning no longer ends this one with them."""
    observed = getattr(trainer.strategy.launcher, "procs", [])
    started = list(observed)
    observed.clear()
    return started
