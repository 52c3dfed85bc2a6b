"""How Triton's programs see parameters and pixels."""

import pytest
import torch
from fused_problems import KINDS, Kind, problem_of
from hypothesis import given
from hypothesis import strategies as st

from miner.fitting.initialization import pixel_subset
from miner.kernels.ops import UnsupportedError
from miner.kernels.triton.layout import PART, Layout
from miner.kernels.triton.pixels import Draws, Pixels


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_parameters_come_back_from_their_rows(kind: Kind) -> None:
    model = problem_of(kind, 9).model
    shapes = {n: s for n, s in model.shapes().items() if n != "readout.amplitude"}
    parameters = {name: torch.rand(3, *shape) + 1 for name, shape in shapes.items()}
    rows = Layout.of(model).rows(parameters)
    torch.testing.assert_close(Layout.of(model).parameters(rows), parameters, rtol=0, atol=0)
    assert rows.shape[1] % PART == 0
    assert int((rows != 0).sum()) == 3 * sum(t[0].numel() for t in parameters.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [({"width": 65}, "model.width=65"), ({"channels": 65}, "channels=65")],
)
def test_sides_that_do_not_fit_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{message}: more than 64"):
        Layout.of(problem_of(KINDS[1]._replace(**change), 9).model)


@given(st.integers(1, 5000))
def test_the_first_tile_has_pixels_from_all_over_the_patch(n_pixels: int) -> None:
    pixels = Pixels.of(n_pixels, 64, torch.device("cpu"))
    assert sorted(pixels.order.tolist()) == list(range(n_pixels))
    first = pixels.order[: pixels.n_tile].sort().values
    gaps = torch.diff(first, prepend=torch.tensor([-1]), append=torch.tensor([n_pixels]))
    assert int(gaps.max()) <= 2 * -(-n_pixels // pixels.n_tile)


@given(st.integers(2, 200), st.integers(1, 199), st.integers(1, 9))
def test_draws_name_the_pixels_of_the_plain_steps(n: int, n_drawn: int, n_steps: int) -> None:
    n_drawn = min(n_drawn, n - 1)
    steps = problem_of(KINDS[0], n).with_steps(n_steps=n_steps, batch_pixels=n_drawn).steps
    pixels = Pixels.of(n, 64, torch.device("cpu"))
    draws = Draws.of(pixels, n_drawn, steps)
    for step in range(n_steps):
        seen = pixels.order[draws.places[step, : draws.counts[step]].long()]
        assert torch.equal(seen, pixel_subset(n, n_drawn, step, *steps.key))
