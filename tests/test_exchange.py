"""Work that is shared out comes back whole and in order."""

from hypothesis import given
from hypothesis import strategies as st
from thread_ranks import ThreadRank, in_threads

from miner.support.communication import SINGLE_PROCESS, gather_items, items_of_rank


@given(n_items=st.integers(0, 20), world_size=st.integers(1, 4))
def test_shares_are_collected_in_order(n_items: int, world_size: int) -> None:
    items = list(range(n_items))

    def work(ranks: ThreadRank) -> list[int]:
        return gather_items(ranks, [item * item for item in items_of_rank(ranks, items)])

    assert in_threads(world_size, work) == [[item * item for item in items]] * world_size


def test_one_process_does_all() -> None:
    assert gather_items(SINGLE_PROCESS, items_of_rank(SINGLE_PROCESS, "abc")) == ["a", "b", "c"]
