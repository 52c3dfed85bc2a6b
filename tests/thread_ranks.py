"""Ranks in threads of one process: the same work, shared out, without starting anything."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

from miner.support.communication import Communicator

T = TypeVar("T")


class ThreadRank(Communicator):
    """A rank in a thread."""

    def __init__(self, rank: int, world_size: int, board: list[Any], barrier: Barrier) -> None:
        self.rank, self.world_size = rank, world_size
        self._board, self._barrier = board, barrier

    def gather(self, value: Any, for_all: bool = True) -> list[Any]:
        self._board[self.rank] = value
        self._barrier.wait(60)
        gathered = list(self._board)
        self._barrier.wait(60)
        return gathered if for_all or self.rank == 0 else []


def in_threads(world_size: int, work: Callable[[ThreadRank], T]) -> list[T]:
    """What each rank's work gives."""
    board: list[Any] = [None] * world_size
    barrier = Barrier(world_size)

    def run(rank: int) -> T:
        try:
            return work(ThreadRank(rank, world_size, board, barrier))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(world_size) as threads:
        return list(threads.map(run, range(world_size)))
