"""What the processes of a run exchange, and how they partition work."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Communicator:
    """The ranks of a run, which make the same calls in the same order; here a single process."""

    rank = 0
    world_size = 1

    def gather(self, value: T, for_all: bool = True) -> list[T]:
        """Wait for all ranks; gives the values of all in their order, or nothing but on rank 0."""
        return [value]

    def check(self) -> None:
        """Raise an exception if another rank has ended; for calls in the midst of long work."""


SINGLE_PROCESS = Communicator()


def items_of_rank(ranks: Communicator, items: Sequence[T]) -> list[T]:
    """The items that this rank works on: neighbours, which cost alike, go to different ranks."""
    return list(items[ranks.rank :: ranks.world_size])


def gather_items(ranks: Communicator, found: Sequence[T]) -> list[T]:
    """What all ranks have found for `items_of_rank`, in the order of the items."""
    gathered = ranks.gather(list(found))
    n_items = sum(map(len, gathered))
    return [gathered[item % ranks.world_size][item // ranks.world_size] for item in range(n_items)]
