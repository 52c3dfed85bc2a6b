"""What the processes of one run tell each other."""

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
