"""Where hidden layers start: a draw, or the parent, in its own box or in the parent's."""

import itertools
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from problems import fit
from torch import Tensor

from miner.fitting.initialization import (
    FreshWeights,
    ParentFrameWeights,
    Parents,
    SharedWeights,
    Weights,
)
from miner.fitting.steps import generator, pixel_subset
from miner.models.activations import Sine
from miner.models.encodings import CosineEncoding
from miner.models.network import BlockMLP
from miner.pyramids.pyramid import GaussianPyramid
from miner.signals.grid import coordinates

STILL = partial(torch.optim.SGD, lr=1e-30)  # float32 parameters stay where they are
DRAWN = {"hidden.0.weight": torch.ones(1, 2), "hidden.0.a": torch.tensor(0.3)}
NONE_EXISTS = torch.tensor([False, False])


def two_parents(exists: Tensor, generation: int = 0) -> Parents:
    hidden = {"hidden.0.weight": torch.full((2, 1, 2), 7.0), "hidden.0.a": torch.full((2,), 5.0)}
    frames = torch.tensor([[generation, 0, 0], [generation, 0, 0]])
    return Parents(exists, hidden, frames, torch.tensor([[0, 1], [1, 1]]))


@pytest.mark.parametrize(
    ("weights", "exists"),
    [
        (FreshWeights(), NONE_EXISTS),
        (FreshWeights(), ~NONE_EXISTS),
        (SharedWeights(), NONE_EXISTS),
        (ParentFrameWeights(), NONE_EXISTS),
    ],
)
def test_fresh_blocks_and_those_without_parents_start_from_the_draw(
    weights: Weights, exists: Tensor
) -> None:
    start = weights.start(DRAWN, two_parents(exists))
    assert start.hidden["hidden.0.weight"].tolist() == [[[1.0, 1.0]], [[1.0, 1.0]]]
    assert start.hidden["hidden.0.a"].tolist() == pytest.approx([0.3, 0.3])
    assert start.is_fresh.all()
    assert not start.frames.any()


def test_gain_scales_weights_but_neither_the_frequency_nor_the_draw() -> None:
    start = SharedWeights(gain=0.5).start(DRAWN, two_parents(torch.tensor([True, False]), 1))
    assert start.hidden["hidden.0.weight"].tolist() == [[[3.5, 3.5]], [[1.0, 1.0]]]
    assert start.hidden["hidden.0.a"].tolist() == pytest.approx([5.0, 0.3])
    assert start.is_fresh.tolist() == [False, True]
    assert not start.frames.any()  # each has its own box


def test_a_child_sees_its_part_of_the_box_of_its_parent() -> None:
    start = ParentFrameWeights().start(DRAWN, two_parents(~NONE_EXISTS))
    assert start.frames.tolist() == [[1, 0, 1], [1, 1, 1]]


@pytest.mark.parametrize(("generation", "is_fresh"), [(0, False), (1, False), (2, True), (3, True)])
def test_generations_are_limited(generation: int, is_fresh: bool) -> None:
    start = ParentFrameWeights(2).start(DRAWN, two_parents(~NONE_EXISTS, generation))
    assert start.is_fresh.tolist() == [is_fresh, is_fresh]
    assert bool(start.frames.any()) is not is_fresh


@pytest.mark.parametrize("n_axes", [2, 3])
def test_a_child_keeps_the_features_of_its_parent(n_axes: int) -> None:
    size = 4
    mlp = BlockMLP(CosineEncoding(3), Sine(), width=5, depth=2, n_axes=n_axes)
    hidden = {name: tensor[None] for name, tensor in mlp.draw(torch.Generator()).items()}
    fine = coordinates(2 * size, (2 * size,) * n_axes)
    parent = mlp.features(hidden, mlp.encoding(fine)).unflatten(2, (2 * size,) * n_axes)
    for parity in itertools.product((0, 1), repeat=n_axes):
        parents = Parents(
            torch.tensor([True]), hidden, torch.zeros(1, 1 + n_axes).long(), torch.tensor([parity])
        )
        start = ParentFrameWeights().start({n: t[0] for n, t in hidden.items()}, parents)
        points = coordinates(size, (size,) * n_axes, start.frames[0].tolist())
        box = (slice(None), slice(None), *(slice(p * size, (p + 1) * size) for p in parity))
        found = mlp.features(start.hidden, mlp.encoding(points))
        torch.testing.assert_close(found, parent[box].flatten(2))


@pytest.mark.parametrize("weights", [SharedWeights(), ParentFrameWeights()])
def test_children_of_inactive_parents_start_fresh(weights: Weights) -> None:
    checkers = torch.zeros(1, 32, 32)
    checkers[:, ::2, ::2] = checkers[:, 1::2, 1::2] = 1.0  # plain grey at every coarser level
    fitted = fit(checkers, weights=weights, pyramid=GaussianPyramid(3))
    assert len(fitted.active_blocks(1)) == 0
    assert fitted.shards[0][0].stats.n_fresh == 16


KEY = (0, 1, "pixels")


def test_equal_keys_draw_equal_numbers_and_others_do_not() -> None:
    keys = [(0, 1), (1, 0), (0, 1, "readout"), (0, 1, 0), (0,), (-1,)]
    drawn = [[float(torch.rand((), generator=generator(*key))) for key in keys] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == len(keys)


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 3))
def test_a_pass_visits_each_pixel_once(n_pixels: int, n_drawn: int, turn: int) -> None:
    n_parts = -(-n_pixels // n_drawn)
    steps = range(turn * n_parts, (turn + 1) * n_parts)
    drawn = [pixel_subset(n_pixels, n_drawn, step, *KEY) for step in steps]
    assert max(len(part) for part in drawn) <= n_drawn
    assert torch.cat(drawn).sort().values.tolist() == list(range(n_pixels))


def test_other_passes_and_levels_have_another_order() -> None:
    first = pixel_subset(50, 50, 0, *KEY)
    assert not torch.equal(first, pixel_subset(50, 50, 1, *KEY))
    assert not torch.equal(first, pixel_subset(50, 50, 0, 0, 2, "pixels"))
