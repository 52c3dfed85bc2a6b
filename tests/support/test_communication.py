"""Partitions are complete, in order, balanced and always the same; shares are gathered in order."""

from hypothesis import given
from hypothesis import strategies as st
from thread_ranks import ThreadRank, in_threads

from miner.support.communication import SINGLE_PROCESS, gather_items, items_of_rank, partition

LOADS = st.lists(st.integers(0, 50), max_size=9)


def least_possible(loads: list[int], world_size: int) -> int:
    """The slow twin: every first cut."""
    if world_size == 1:
        return sum(loads)
    return min(
        max(sum(loads[:cut]), least_possible(loads[cut:], world_size - 1))
        for cut in range(len(loads) + 1)
    )


@given(loads=LOADS, world_size=st.integers(1, 4))
def test_a_partition_has_every_item_once_in_order_and_the_smallest_largest_share(
    loads: list[int], world_size: int
) -> None:
    shares = partition(loads, world_size)
    assert len(shares) == world_size
    assert [item for share in shares for item in share] == list(range(len(loads)))
    assert shares == partition(loads, world_size)
    largest = max(sum(loads[item] for item in share) for share in shares)
    assert largest == least_possible(loads, world_size)


@given(n_items=st.integers(0, 60), world_size=st.integers(1, 9))
def test_equal_items_are_partitioned_evenly(n_items: int, world_size: int) -> None:
    counts = [len(share) for share in partition([2048] * n_items, world_size)]
    assert max(counts) - min(counts) <= 1


def test_ranks_may_get_nothing() -> None:
    assert [len(share) for share in partition([7], 3)] in ([1, 0, 0], [0, 1, 0], [0, 0, 1])
    assert partition([], 2) == [range(0), range(0)]


@given(n_items=st.integers(0, 20), world_size=st.integers(1, 4))
def test_shares_are_gathered_in_order(n_items: int, world_size: int) -> None:
    items = list(range(n_items))

    def work(ranks: ThreadRank) -> list[int]:
        return gather_items(ranks, [item * item for item in items_of_rank(ranks, items)])

    assert in_threads(world_size, work) == [[item * item for item in items]] * world_size


def test_one_process_does_all() -> None:
    assert gather_items(SINGLE_PROCESS, items_of_rank(SINGLE_PROCESS, "abc")) == ["a", "b", "c"]
