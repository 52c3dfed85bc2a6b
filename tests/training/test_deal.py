"""A deal is complete, in order, balanced, and always the same."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from miner.training.deal import deal

LOADS = st.lists(st.integers(0, 50), max_size=9)


def largest(loads: list[int], shares: list[range]) -> int:
    return max(sum(loads[item] for item in share) for share in shares)


def least_possible(loads: list[int], n_ranks: int) -> int:
    """The slow twin: every place for the first cut."""
    if n_ranks == 1:
        return sum(loads)
    return min(
        max(sum(loads[:cut]), least_possible(loads[cut:], n_ranks - 1))
        for cut in range(len(loads) + 1)
    )


@given(loads=LOADS, n_ranks=st.integers(1, 4))
def test_every_item_is_dealt_once_in_order(loads: list[int], n_ranks: int) -> None:
    shares = deal(loads, n_ranks)
    assert len(shares) == n_ranks
    assert [item for share in shares for item in share] == list(range(len(loads)))


@given(loads=LOADS, n_ranks=st.integers(1, 4))
def test_no_deal_has_a_smaller_largest_share(loads: list[int], n_ranks: int) -> None:
    assert largest(loads, deal(loads, n_ranks)) == least_possible(loads, n_ranks)


@given(n_items=st.integers(0, 60), n_ranks=st.integers(1, 9))
def test_equal_items_are_dealt_evenly(n_items: int, n_ranks: int) -> None:
    counts = [len(share) for share in deal([2048] * n_items, n_ranks)]
    assert max(counts) - min(counts) <= 1


def test_ranks_may_get_nothing() -> None:
    assert [len(share) for share in deal([7], 3)] in ([1, 0, 0], [0, 1, 0], [0, 0, 1])
    assert deal([], 2) == [range(0), range(0)]


def test_neighbours_stay_together() -> None:
    shares = deal([3, 1, 4, 1, 5, 9, 2, 6], 3)
    assert all(left.stop == right.start for left, right in pairwise(shares))
    assert shares == deal([3, 1, 4, 1, 5, 9, 2, 6], 3)
