"""How Triton's programs see parameters and pixels."""

import pytest
import torch
from block_problems import CPU, Kind, problem_of
from hypothesis import given
from hypothesis import strategies as st
from kernel_problems import KINDS

from miner.fitting.steps import pixel_subset
from miner.kernels.ops import UnsupportedError
from miner.kernels.triton.math import PART
from miner.kernels.triton.trainer import Layout, drawn_pixels, pixel_order


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_parameters_come_back_from_their_rows(kind: Kind) -> None:
    network = problem_of(kind, 9).network
    layout = Layout(network)
    parameters = {name: torch.rand(3, *shape) + 1 for name, shape in network.shapes().items()}
    rows = layout.rows(parameters)
    torch.testing.assert_close(layout.parameters(rows), parameters, rtol=0, atol=0)
    assert rows.shape[1] % PART.value == 0
    assert int((rows != 0).sum()) == 3 * sum(t[0].numel() for t in parameters.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [({"width": 65}, "model.width=65"), ({"channels": 65}, "channels=65")],
)
def test_sides_that_do_not_fit_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{message}: more than 64"):
        Layout(problem_of(KINDS[1]._replace(**change), 9).network)


@given(st.integers(1, 5000))
def test_the_first_tile_has_pixels_from_all_over_the_patch(n_pixels: int) -> None:
    tile = Layout(problem_of(KINDS[1], 9).network).tile(n_pixels)
    order = pixel_order(n_pixels, tile, CPU)
    assert sorted(order.tolist()) == list(range(n_pixels))
    first = order[:tile].sort().values
    gaps = torch.diff(first, prepend=torch.tensor([-1]), append=torch.tensor([n_pixels]))
    assert int(gaps.max()) <= 2 * -(-n_pixels // tile)


@given(st.integers(2, 200), st.integers(1, 199), st.integers(1, 9))
def test_drawn_pixels_are_those_of_the_plain_steps(n: int, n_drawn: int, n_steps: int) -> None:
    n_drawn = min(n_drawn, n - 1)
    steps = problem_of(KINDS[0], n, n_steps=n_steps).with_steps(batch_pixels=n_drawn).steps
    order = pixel_order(n, 64, CPU)
    found = drawn_pixels(order, steps)
    assert found is not None
    for step, (positions, count) in enumerate(zip(*found, strict=True)):
        expected = pixel_subset(n, n_drawn, step, *steps.key)
        assert torch.equal(order[positions[:count].long()], expected)


def test_no_pixels_are_drawn_if_a_step_sees_them_all() -> None:
    steps = problem_of(KINDS[0], 20).with_steps(batch_pixels=20).steps
    assert drawn_pixels(pixel_order(20, 64, CPU), steps) is None
