"""Work that is shared out comes back whole and in order."""

from hypothesis import given
from hypothesis import strategies as st
from thread_ranks import ThreadRank, in_threads

from miner.exchange import ALONE, collect, share


@given(n_items=st.integers(0, 20), n_ranks=st.integers(1, 4))
def test_shares_are_collected_in_order(n_items: int, n_ranks: int) -> None:
    items = list(range(n_items))

    def work(ranks: ThreadRank) -> list[int]:
        return collect(ranks, [item * item for item in share(ranks, items)])

    assert in_threads(n_ranks, work) == [[item * item for item in items]] * n_ranks


def test_one_process_does_all() -> None:
    assert collect(ALONE, share(ALONE, "abc")) == ["a", "b", "c"]
