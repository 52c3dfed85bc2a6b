"""What the processes of one run tell each other, and how they share out work."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Exchange(Protocol):
    """The ranks of a run, numbered from 0. Every rank takes part in every call, in one order."""

    @property
    def rank(self) -> int:
        """This process's number."""

    @property
    def n_ranks(self) -> int:
        """Processes in all."""

    def gather(self, value: T) -> list[T]:
        """Everybody's values in the order of ranks, when the last has come."""


class Alone:
    """One process, which has nobody to wait for."""

    rank, n_ranks = 0, 1

    def gather(self, value: T) -> list[T]:
        """Its own value."""
        return [value]


ALONE = Alone()


def share(ranks: Exchange, items: Sequence[T]) -> list[T]:
    """The items that this rank works on: neighbours, which cost alike, go to different ranks."""
    return list(items[ranks.rank :: ranks.n_ranks])


def collect(ranks: Exchange, found: Sequence[T]) -> list[T]:
    """What all ranks have found for their shares, in the order of the items."""
    gathered = ranks.gather(list(found))
    n_items = sum(map(len, gathered))
    return [gathered[item % ranks.n_ranks][item // ranks.n_ranks] for item in range(n_items)]
