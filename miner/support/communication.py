"""What the processes of a run exchange, and how they partition work."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol, TypeVar

T = TypeVar("T")


class Communicator(Protocol):
    """The ranks of a run, numbered from 0. Every rank takes part in every call, in one order."""

    @property
    def rank(self) -> int:
        """This process's number."""

    @property
    def world_size(self) -> int:
        """Processes in all."""

    def gather(self, value: T) -> list[T]:
        """Everybody's values in the order of ranks, when the last has come."""


class SingleProcess:
    """One process, which has nobody to wait for."""

    rank, world_size = 0, 1

    def gather(self, value: T) -> list[T]:
        """Its own value."""
        return [value]


SINGLE_PROCESS = SingleProcess()


def items_of_rank(ranks: Communicator, items: Sequence[T]) -> list[T]:
    """The items that this rank works on: neighbours, which cost alike, go to different ranks."""
    return list(items[ranks.rank :: ranks.world_size])


def gather_items(ranks: Communicator, found: Sequence[T]) -> list[T]:
    """What all ranks have found for their shares, in the order of the items."""
    gathered = ranks.gather(list(found))
    n_items = sum(map(len, gathered))
    return [gathered[item % ranks.world_size][item // ranks.world_size] for item in range(n_items)]


def partition(loads: Sequence[int], world_size: int) -> list[range]:
    """Share out neighbouring items so that the largest sum of loads is as small as can be.

    Gives a range of items for each rank, in order; some may be empty. Chunks lie along a curve, so
    each rank works in a part of the level. Within the smallest largest sum, shares are as even as
    neighbours allow. `loads` are whole numbers of at least 0.
    """
    before = [0, *accumulate(loads)]
    most = _least_share(before, world_size)
    needed = [len(loads)]  # the ranks after this one can take all from here on
    for _ in range(world_size - 1):
        needed.append(bisect_left(before, before[needed[-1]] - most))
    shares: list[range] = []
    first = 0
    for rank, least in enumerate(reversed(needed), start=1):
        even = bisect_left(before, before[-1] * rank / world_size)
        end = min(max(even, least), _end(before, first, most))
        shares.append(range(first, end))
        first = end
    return shares


def _least_share(before: Sequence[int], world_size: int) -> int:
    low, high = 0, before[-1]
    while low < high:
        middle = (low + high) // 2
        first = 0
        for _ in range(world_size):
            first = _end(before, first, middle)
        if first == len(before) - 1:
            high = middle
        else:
            low = middle + 1
    return low


def _end(before: Sequence[int], first: int, most: int) -> int:
    """Where a rank ends that begins here and takes all that it may."""
    return bisect_right(before, before[first] + most) - 1
