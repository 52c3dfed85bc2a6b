"""The processes of one run: what they tell each other, and what happens when one of them ends.

Every rank has a line to rank 0, on which it listens in a thread: the system closes it when a
process ends in any way, so nobody has to be asked whether he is alive. A process that is stopped
and a machine that vanishes close nothing: they are waited for. All goes through gloo, on the CPU:
what is exchanged is small, and several ranks may share a GPU.
"""

import logging
import os
import shlex
import socket
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from signal import SIGTERM, pthread_kill
from subprocess import Popen, TimeoutExpired
from threading import Event, Lock, Thread, main_thread
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from miner.support.errors import RankError

T = TypeVar("T")


_ALWAYS = timedelta(days=1000)  # how long a level takes is not known; deaths are noticed at once


_LENGTH = 2048  # bytes of a message


_DONE, _STOP = "done", "stop"


_LOST = "this process was killed, ran out of memory, or lost its machine"


_FAREWELL_S, _TELL_S = 30.0, 5.0


_SIGNALS_S = 0.2  # between two looks for signals

_LOG = logging.getLogger("miner")


class Ranks:
    """The ranks of a run whose process group is there; an `Exchange`."""

    def __init__(
        self, folder: Path, started: Sequence["Popen[bytes]"], clear: Callable[[], None]
    ) -> None:
        """Meet the others.

        `folder` is the run's, `started` are those that this process started, and `clear` removes
        what it would leave behind.
        """
        self._clear = clear
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        self._folder, self._started = folder, started
        self._group = dist.new_group(backend="gloo", timeout=_ALWAYS)
        self._lines = dist.new_group(backend="gloo", timeout=_ALWAYS)
        self._failure: str | None = None
        self._is_ending, self._lock = Event(), Lock()
        self._waiting: Thread | None = None
        self._names = self.gather(f"rank {self.rank} on {socket.gethostname()}")
        peers = range(1, self.world_size) if self.rank == 0 else range(1)
        self._listeners = {
            peer: Thread(target=self._listen, args=(peer,), daemon=True) for peer in peers
        }
        for listener in self._listeners.values():
            listener.start()

    def gather(self, value: T) -> list[T]:
        """Everybody's values in the order of ranks, when the last has come.

        A thread waits for them: in the process group nothing would hear a signal.

        Raises:
            RankError: another rank has failed or was killed.
        """
        values: list[Any] = [None] * self.world_size
        errors: list[RuntimeError] = []

        def exchange() -> None:
            try:
                dist.all_gather_object(values, value, group=self._group)
            except RuntimeError as error:
                errors.append(error)

        self._waiting = Thread(target=exchange, daemon=True)
        self._waiting.start()
        while self._waiting.is_alive():
            self._waiting.join(_SIGNALS_S)
        if errors:
            raise self.failure(errors[0]) from errors[0]
        return values

    def failure(self, error: BaseException) -> BaseException:
        """Why rank 0 has to end: what became of another rank, else the error itself.

        An error of the process group may come a moment before its reason.
        """
        if isinstance(error, RuntimeError) and not isinstance(error, RankError):
            self._is_ending.wait(2.0)
        if self._failure is None:
            return error
        return RankError(
            f"{self._failure}; what is finished is kept: mend this and go on with "
            f"resume={shlex.quote(str(self._folder))}, on any number of devices"
        )

    def detach(self) -> None:
        """Let the others end as they may: what is left to do is this rank's alone."""
        with self._lock:
            self._is_ending.set()

    def close(self) -> None:
        """Take leave of the others at the end of a fit."""
        for peer in self._listeners:
            self._tell(peer, _DONE)
        self._wait()

    def abort(self, reason: str | None) -> None:
        """End the others, None for an interruption; does not return on other ranks than 0."""
        with self._lock:
            self._is_ending.set()
        for peer in self._listeners:
            self._tell(peer, _STOP if reason is None else reason)
        if self.rank > 0:
            self._leave()
        self._wait()

    def _wait(self) -> None:
        """Until the processes that this one started have ended, and all lines are closed.

        Python must not end before its threads in a process group have.
        """
        until = time.monotonic() + _FAREWELL_S
        for process in self._started:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except TimeoutExpired:
                process.kill()
        waiting = [] if self._waiting is None else [self._waiting]
        for thread in (*self._listeners.values(), *waiting):
            thread.join(max(_TELL_S, until - time.monotonic()))

    def _listen(self, peer: int) -> None:
        words = torch.zeros(_LENGTH, dtype=torch.uint8)
        try:
            dist.recv(words, src=peer, group=self._lines)
            said = bytes(words.tolist()).rstrip(b"\0").decode(errors="replace")
        except RuntimeError:
            said = _LOST
        if said == _DONE:
            return
        if self.rank > 0:
            self._leave()  # rank 0 says why
        if said == _STOP:
            self._is_ending.wait(1.0)  # Ctrl-C in a terminal is for all; this rank's own comes now
        with self._lock:
            if self._is_ending.is_set():
                return
            if said != _STOP:
                self._failure = f"{self._names[peer]}: {said}"
            for other in self._listeners:
                self._tell(other, _STOP)
            # wherever the main thread is, but within a process group
            pthread_kill(main_thread().ident or 0, SIGTERM)
            self._is_ending.set()

    def _tell(self, peer: int, text: str) -> None:
        words = text.encode()[:_LENGTH].ljust(_LENGTH, b"\0")
        try:
            message = torch.tensor(list(words), dtype=torch.uint8)
            sent = dist.isend(message, peer, group=self._lines)
            if sent is not None:
                sent.wait(timedelta(seconds=_TELL_S))  # a stopped process does not listen
        except RuntimeError:
            _LOG.debug("%s has ended before", self._names[peer])

    def _leave(self) -> None:
        """End at once: what is finished is in files, and nothing else is of use."""
        try:
            self._clear()
        finally:
            logging.shutdown()
            os._exit(1)
