"""The shares of ranks are gathered in the order of the items."""

from hypothesis import given
from hypothesis import strategies as st
from thread_ranks import in_threads

from miner.support.communication import Communicator, gather_items, items_of_rank


@given(n_items=st.integers(0, 20), world_size=st.integers(1, 4))
def test_shares_are_gathered_in_order(n_items: int, world_size: int) -> None:
    items = list(range(n_items))

    def work(ranks: Communicator) -> list[int]:
        return gather_items(ranks, [item * item for item in items_of_rank(ranks, items)])

    squares = [item * item for item in items]
    assert in_threads(world_size, work) == [squares] * world_size
    assert work(Communicator()) == squares
