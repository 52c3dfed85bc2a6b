"""A deal is complete, in order, balanced, and always the same."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from miner.support.communication import partition

LOADS = st.lists(st.integers(0, 50), max_size=9)


def largest(loads: list[int], shares: list[range]) -> int:
    return max(sum(loads[item] for item in share) for share in shares)


def least_possible(loads: list[int], world_size: int) -> int:
    """The slow twin: every place for the first cut."""
    if world_size == 1:
        return sum(loads)
    return min(
        max(sum(loads[:cut]), least_possible(loads[cut:], world_size - 1))
        for cut in range(len(loads) + 1)
    )


@given(loads=LOADS, world_size=st.integers(1, 4))
def test_every_item_is_dealt_once_in_order(loads: list[int], world_size: int) -> None:
    shares = partition(loads, world_size)
    assert len(shares) == world_size
    assert [item for share in shares for item in share] == list(range(len(loads)))


@given(loads=LOADS, world_size=st.integers(1, 4))
def test_no_deal_has_a_smaller_largest_share(loads: list[int], world_size: int) -> None:
    assert largest(loads, partition(loads, world_size)) == least_possible(loads, world_size)


@given(n_items=st.integers(0, 60), world_size=st.integers(1, 9))
def test_equal_items_are_dealt_evenly(n_items: int, world_size: int) -> None:
    counts = [len(share) for share in partition([2048] * n_items, world_size)]
    assert max(counts) - min(counts) <= 1


def test_ranks_may_get_nothing() -> None:
    assert [len(share) for share in partition([7], 3)] in ([1, 0, 0], [0, 1, 0], [0, 0, 1])
    assert partition([], 2) == [range(0), range(0)]


def test_neighbours_stay_together() -> None:
    shares = partition([3, 1, 4, 1, 5, 9, 2, 6], 3)
    assert all(left.stop == right.start for left, right in pairwise(shares))
    assert shares == partition([3, 1, 4, 1, 5, 9, 2, 6], 3)
