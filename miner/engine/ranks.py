"""The processes of one run: what they exchange, and what happens when one of them ends.

Each rank has a connection to rank 0, which both ends watch in a thread: the system closes it when
a process ends, but not when it is stopped or its machine vanishes. All goes through gloo, on the
CPU: several ranks may share a GPU.
"""

import logging
import os
import shlex
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from threading import Event, Lock, Thread, main_thread
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
import torch.distributed as dist

from miner.support.communication import Communicator
from miner.support.errors import RankError, UserError, error_summary

T = TypeVar("T")
_NO_TIMEOUT = timedelta(days=1000)  # the time of a level is unknown; deaths are noticed at once
_MESSAGE_BYTES = 2048
_DONE, _STOP = "done", "stop"
_LOST = "this process was killed, ran out of memory, or lost its machine"
_SEND_S, _POLL_S = 5.0, 0.2
_END_S = 30.0  # then processes that do not end are killed
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
        self._is_ending, self._lock = Event(), Lock()
        self._names = self.gather(f"rank {self.rank} on {socket.gethostname()}")
        peers = range(1, self.world_size) if self.rank == 0 else range(1)
        listeners = [Thread(target=self._listen, args=(peer,), daemon=True) for peer in peers]
        self._listeners = dict(zip(peers, listeners, strict=True))
        for listener in listeners:
            listener.start()

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
        self._exchange = Thread(target=exchange, daemon=True)
        self._exchange.start()
        while self._exchange.is_alive():
            self._exchange.join(_POLL_S)
        if errors:
            raise self._cause(errors[0]) from errors[0]
        return values

    def detach(self) -> None:
        """Let the others end in any way: the rest of the run is this rank's alone."""
        with self._lock:
            self._is_ending.set()

    def close(self) -> None:
        """Send that this rank has finished, and wait for the processes that it has started."""
        self._send_all(_DONE)
        self._wait()

    def abort(self, error: BaseException) -> BaseException:
        """End all ranks after an error; gives its cause. Only rank 0 returns."""
        handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which `_listen` sends
        cause = self._cause(error)
        if self.rank > 0 and isinstance(cause, Exception) and not isinstance(cause, UserError):
            _LOG.error("this rank failed", exc_info=cause)
        self.detach()
        reason = error_summary(cause, self._folder) if isinstance(cause, Exception) else _STOP
        self._send_all(reason)
        if self.rank > 0:
            self._leave()
        self._wait()
        signal.signal(signal.SIGTERM, handler)
        return cause

    def _cause(self, error: BaseException) -> BaseException:
        if isinstance(error, RuntimeError) and not isinstance(error, RankError):
            self._is_ending.wait(2.0)  # an error of the process group may precede its reason
        if self._failure is None:
            return error
        return RankError(
            f"{self._failure}; what is finished is kept: mend this and go on with "
            f"resume={shlex.quote(str(self._folder))}, on any number of devices"
        )

    def _wait(self) -> None:
        until = time.monotonic() + _END_S
        for process in self._started:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except TimeoutExpired:
                process.kill()
        for thread in (*self._listeners.values(), self._exchange):
            thread.join(max(_SEND_S, until - time.monotonic()))

    def _listen(self, peer: int) -> None:
        received = torch.zeros(_MESSAGE_BYTES, dtype=torch.uint8)
        try:
            dist.recv(received, src=peer, group=self._connections)
            message = bytes(received.tolist()).rstrip(b"\0").decode(errors="replace")
        except RuntimeError:
            message = _LOST
        if message == _DONE:
            return
        if self.rank > 0:
            self._leave()  # rank 0 reports the reason
        if message == _STOP:
            self._is_ending.wait(1.0)  # Ctrl-C in a terminal reaches all ranks, this one now
        with self._lock:
            if self._is_ending.is_set():
                return
            if message != _STOP:
                self._failure = f"{self._names[peer]}: {message}"
            self._send_all(_STOP)
            # wherever the main thread is, but within a process group
            signal.pthread_kill(main_thread().ident or 0, signal.SIGTERM)
            self._is_ending.set()

    def _send_all(self, text: str) -> None:
        message = text.encode()[:_MESSAGE_BYTES].ljust(_MESSAGE_BYTES, b"\0")
        content = torch.tensor(list(message), dtype=torch.uint8)
        for peer in self._listeners:
            with suppress(RuntimeError):  # it has ended before
                sent = dist.isend(content, peer, group=self._connections)
                if sent is not None:
                    sent.wait(timedelta(seconds=_SEND_S))  # a stopped process does not receive

    def _leave(self) -> None:
        try:
            self._clear()
        finally:
            logging.shutdown()
            os._exit(1)  # what is finished is in files


def release_started(trainer: pl.Trainer) -> list["Popen[bytes]"]:
    """The processes that a trainer has started; Lightning no longer ends this one with them."""
    observed = getattr(trainer.strategy.launcher, "procs", [])
    started = list(observed)
    observed.clear()
    return started
