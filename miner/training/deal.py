"""Which chunks of a level each rank fits."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate


def deal(loads: Sequence[int], n_ranks: int) -> list[range]:
    """Share out neighbouring items so that the largest sum of loads is as small as can be.

    Gives a range of items for each rank, in order; some may be empty. Chunks lie along a curve, so
    each rank works in a part of the level. Within the smallest largest sum, shares are as even as
    neighbours allow. `loads` are whole numbers of at least 0.
    """
    before = [0, *accumulate(loads)]
    most = _least_share(before, n_ranks)
    needed = [len(loads)]  # the ranks after this one can take all from here on
    for _ in range(n_ranks - 1):
        needed.append(bisect_left(before, before[needed[-1]] - most))
    shares: list[range] = []
    first = 0
    for rank, least in enumerate(reversed(needed), start=1):
        even = bisect_left(before, before[-1] * rank / n_ranks)
        end = min(max(even, least), _end(before, first, most))
        shares.append(range(first, end))
        first = end
    return shares


def _least_share(before: Sequence[int], n_ranks: int) -> int:
    low, high = 0, before[-1]
    while low < high:
        middle = (low + high) // 2
        first = 0
        for _ in range(n_ranks):
            first = _end(before, first, middle)
        if first == len(before) - 1:
            high = middle
        else:
            low = middle + 1
    return low


def _end(before: Sequence[int], first: int, most: int) -> int:
    """Where a rank ends that begins here and takes all that it may."""
    return bisect_right(before, before[first] + most) - 1
