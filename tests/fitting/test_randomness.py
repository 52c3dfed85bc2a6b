"""Random numbers follow from their key alone."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from miner.fitting.initialization import generator, pixel_subset

KEY = (0, 1, "pixels")


def test_equal_keys_draw_equal_numbers() -> None:
    first, again = (torch.rand(3, generator=generator(*KEY)) for _ in range(2))
    assert torch.equal(first, again)


def test_other_keys_draw_other_numbers() -> None:
    keys = [(0, 1), (1, 0), (0, 1, "readout"), (0, 1, 0), (0,), (-1,)]
    drawn = {float(torch.rand((), generator=generator(*key))) for key in keys}
    assert len(drawn) == len(keys)


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(1)
    state, first = torch.get_rng_state(), pixel_subset(20, 7, 2, *KEY)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(pixel_subset(20, 7, 2, *KEY), first)


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 3))
def test_a_pass_visits_each_pixel_once(n_pixels: int, n_drawn: int, turn: int) -> None:
    n_parts = -(-n_pixels // n_drawn)
    steps = range(turn * n_parts, (turn + 1) * n_parts)
    drawn = [pixel_subset(n_pixels, n_drawn, step, *KEY) for step in steps]
    assert max(len(part) for part in drawn) <= n_drawn
    assert torch.cat(drawn).sort().values.tolist() == list(range(n_pixels))


def test_the_next_pass_has_another_order() -> None:
    assert not torch.equal(pixel_subset(50, 50, 0, *KEY), pixel_subset(50, 50, 1, *KEY))


def test_other_levels_see_other_pixels() -> None:
    assert not torch.equal(pixel_subset(50, 9, 0, 0, 1), pixel_subset(50, 9, 0, 0, 2))
