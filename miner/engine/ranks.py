"""The processes of one run: what they exchange, and how all end when one of them does.

Rank 0 has a connection to each other rank, which the system closes when a process ends in any way,
but not when it is stopped or its machine vanishes. Waiting for a slower rank has no time limit.
"""

import logging
import os
import pickle
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge, wait
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch.distributed as dist

from miner.support.communication import Communicator
from miner.support.errors import RunError, UserError, error_summary

T = TypeVar("T")
STARTER = "MINER_STARTER_PID"  # in the environment
_NO_TIMEOUT = timedelta(days=1000)
_LOST = "this process was killed, ran out of memory, or lost its machine"
_CONNECT_S = 45.0  # all are there already: Lightning has joined them
_REASON_S = 2.0  # how long after an error of Lightning's process group its reason may arrive
_LOG = logging.getLogger("miner")


def end_with_starter(are_joined: Event) -> None:
    """End this process if the one that started it ends while the ranks find each other."""
    while not are_joined.wait(1.0):
        if os.getppid() != int(os.environ[STARTER]):
            print(f"error: the process that started this rank: {_LOST}", file=sys.stderr)
            os._exit(1)


class Ranks(Communicator):
    """The ranks of a run, which Lightning has joined; `folder` is the run's.

    A rank sends a value, which rank 0 answers with the values of all, or the error that ends it.
    """

    def __init__(self, folder: Path, trainer: pl.Trainer) -> None:
        self.rank, self.world_size, self._folder = trainer.global_rank, trainer.world_size, folder
        self._names = [f"rank {rank}" for rank in range(self.world_size)]
        self._received: dict[int, Any] = {}
        try:
            self._connections = dict(self._connect(trainer))
        except (OSError, EOFError, AuthenticationError) as error:
            address = os.environ["MASTER_ADDR"]
            raise RunError(f"rank {self.rank}: no connection by {address} ({error})") from error
        self._names = self.gather(f"rank {self.rank} on {socket.gethostname()}")
        # Lightning's own messages need no time limit any more: all have found each other.
        dist.distributed_c10d._set_pg_timeout(_NO_TIMEOUT)
        # Lightning would kill this process as soon as one of those that it has started ends.
        observed = getattr(trainer.strategy.launcher, "procs", [])
        self._started = list(observed)
        observed.clear()

    def _connect(self, trainer: pl.Trainer) -> Iterator[tuple[int, Connection]]:
        """The other rank of each connection, and the connection."""
        key = os.urandom(32)
        if self.rank > 0:
            port, key = trainer.strategy.broadcast((0, key))
            address = os.environ["MASTER_ADDR"], port
            connected = socket.create_connection(address, _CONNECT_S)
            connected.settimeout(None)
            connection = Connection(connected.detach())
            answer_challenge(connection, key)
            deliver_challenge(connection, key)
            connection.send(self.rank)
            yield 0, connection
            return
        family = socket.AF_INET6 if (both := socket.has_dualstack_ipv6()) else socket.AF_INET
        with socket.create_server(("", 0), family=family, dualstack_ipv6=both) as server:
            server.settimeout(_CONNECT_S)
            trainer.strategy.broadcast((server.getsockname()[1], key))
            for _ in range(1, self.world_size):
                connection = Connection(server.accept()[0].detach())
                deliver_challenge(connection, key)
                answer_challenge(connection, key)
                yield connection.recv(), connection

    def gather(self, value: T, for_all: bool = True) -> list[T]:
        """The values of all ranks in order, on rank 0 alone if not `for_all`; raises as `check`."""
        if self.rank > 0:
            self._send(value)
        while len(self._received) < len(self._connections):
            self._receive(timeout_s=None)
        received, self._received = self._received, {}
        if self.rank > 0:
            return list(received[0])
        values = [value, *(received[rank] for rank in range(1, self.world_size))]
        self._send(values if for_all else [])
        return values

    def check(self) -> None:
        """Raise `RunError` if another rank has failed, `KeyboardInterrupt` if it was stopped."""
        self._receive(timeout_s=0)

    def abort(self, error: BaseException) -> BaseException:
        """Tell the other ranks of an error, and end the processes that this one has started.

        Gives the cause of the error, which may be that of another rank.
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun sends it when a rank was killed
        try:
            if not isinstance(error, UserError):
                while self._receive(_REASON_S):
                    pass
        except (RunError, KeyboardInterrupt) as reason:
            error = reason
        message = error
        if not isinstance(error, RunError | KeyboardInterrupt):
            message = self._error(self.rank, error_summary(error, self._folder))
            if self.rank > 0 and not isinstance(error, UserError):
                _LOG.error("this rank failed", exc_info=error)
        self._send(message)
        for process in self._started:
            process.kill()  # it may have been stopped
            process.wait()
        return error

    def _receive(self, timeout_s: float | None) -> bool:
        """Keep the values that have come for `gather`; gives whether there were any in time."""
        ready = wait(list(self._connections.values()), timeout_s)
        for rank, connection in list(self._connections.items()):
            if connection not in ready:
                continue
            try:
                received = pickle.loads(connection.recv_bytes())
            except (EOFError, OSError):
                received = self._error(rank, _LOST)
                if rank == 0:  # which would have said so
                    print(f"error: {received}", file=sys.stderr)
            if isinstance(received, BaseException):
                del self._connections[rank]
                raise received
            self._received[rank] = received
        return bool(ready)

    def _send(self, content: Any) -> None:
        message = pickle.dumps(content)  # as bytes: tensors would go through shared memory
        for connection in self._connections.values():
            with suppress(OSError):  # its end is noticed when something is received
                connection.send_bytes(message)

    def _error(self, rank: int, reason: str) -> RunError:
        return RunError(
            f"{self._names[rank]}: {reason}; what is finished is kept: mend this and go on with "
            f"resume={shlex.quote(str(self._folder))}, on any number of devices"
        )
