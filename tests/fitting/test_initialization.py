"""Where hidden layers start: a draw, or the parent, in its own box or in the parent's."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
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
from miner.signals.grid import coordinates

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
def test_fresh_blocks_and_those_without_parents_inherit_nothing(
    weights: Weights, exists: Tensor
) -> None:
    found = weights.inherited(two_parents(exists))
    assert not found.exists.any()
    assert not found.frames.any()


def test_gain_scales_weights_but_not_the_frequency() -> None:
    found = SharedWeights(gain=0.5).inherited(two_parents(torch.tensor([True, False]), 1))
    assert found.hidden["hidden.0.weight"].tolist() == 2 * [[[3.5, 3.5]]]
    assert found.hidden["hidden.0.a"].tolist() == [5.0, 5.0]
    assert found.exists.tolist() == [True, False]
    assert not found.frames.any()  # each has its own box


@pytest.mark.parametrize(("generation", "exists"), [(0, True), (1, True), (2, False), (3, False)])
def test_a_child_sees_its_part_of_its_parents_box_for_some_generations(
    generation: int, exists: bool
) -> None:
    found = ParentFrameWeights(2).inherited(two_parents(~NONE_EXISTS, generation))
    assert found.exists.tolist() == [exists, exists]
    halves = [[generation + 1, 0, 1], [generation + 1, 1, 1]]
    assert found.frames.tolist() == (halves if exists else [[0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("n_axes", [2, 3])
def test_a_child_keeps_the_features_of_its_parent(n_axes: int) -> None:
    size = 4
    mlp = BlockMLP(CosineEncoding(3), Sine(), width=5, depth=2, n_axes=n_axes)
    hidden = {name: tensor[None] for name, tensor in mlp.draw(torch.Generator()).items()}
    fine = coordinates(2 * size, (2 * size,) * n_axes)
    parent = mlp.features(hidden, mlp.encoding(fine)).unflatten(2, (2 * size,) * n_axes)
    for parity in itertools.product((0, 1), repeat=n_axes):
        frames = torch.zeros(1, 1 + n_axes).long()
        parents = Parents(torch.tensor([True]), hidden, frames, torch.tensor([parity]))
        child = ParentFrameWeights().inherited(parents)
        points = coordinates(size, (size,) * n_axes, child.frames[0].tolist())
        box = (slice(None), slice(None), *(slice(p * size, (p + 1) * size) for p in parity))
        found = mlp.features(child.hidden, mlp.encoding(points))
        torch.testing.assert_close(found, parent[box].flatten(2))


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
