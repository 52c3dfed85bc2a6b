"""What the processes of a run exchange, and how they partition work."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

T = TypeVar("T")


class Communicator:
    """The ranks of a run, which make the same calls in the same order; here a single process."""

    rank = 0
    world_size = 1

    def gather(self, value: T) -> list[T]:
        """Wait for all ranks; gives the values of all, in the order of ranks."""
        return [value]


SINGLE_PROCESS = Communicator()


def items_of_rank(ranks: Communicator, items: Sequence[T]) -> list[T]:
    """The items that this rank works on: neighbours, which cost alike, go to different ranks."""
    return list(items[ranks.rank :: ranks.world_size])


def gather_items(ranks: Communicator, found: Sequence[T]) -> list[T]:
    """What all ranks have found for `items_of_rank`, in the order of the items."""
    gathered = ranks.gather(list(found))
    n_items = sum(map(len, gathered))
    return [gathered[item % ranks.world_size][item // ranks.world_size] for item in range(n_items)]


def partition(loads: Sequence[int], world_size: int) -> list[range]:
    """Give each rank a range of items, in order, so that the largest sum of loads is the smallest.

    Otherwise shares are as even as neighbours allow; some may be empty. `loads` are whole numbers
    of at least 0.
    """
    before = [0, *accumulate(loads)]

    def end_of(first: int, most: int) -> int:
        return bisect_right(before, before[first] + most) - 1

    def is_enough(most: int) -> bool:
        first = 0
        for _ in range(world_size):
            first = end_of(first, most)
        return first == len(loads)

    most = bisect_left(range(before[-1]), True, key=is_enough)
    starts = [len(loads)]  # from the last rank on: where it must start, at the earliest
    for _ in range(world_size - 1):
        starts.append(bisect_left(before, before[starts[-1]] - most))
    shares: list[range] = []
    first = 0
    for rank, least in enumerate(reversed(starts), start=1):
        even = bisect_left(before, before[-1] * rank / world_size)
        end = min(max(even, least), end_of(first, most))
        shares.append(range(first, end))
        first = end
    return shares
