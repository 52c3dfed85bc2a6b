"""Boxes of pixels for tests of properties."""

from collections.abc import Sequence

from hypothesis import strategies as st

from miner.signals.regions import Region


def regions(sides: Sequence[int]) -> st.SearchStrategy[Region]:
    """Any box inside an image with these sides."""
    ends = [st.lists(st.integers(0, side), min_size=2, max_size=2, unique=True) for side in sides]
    return st.tuples(*(axis.map(lambda pair: (min(pair), max(pair))) for axis in ends))
