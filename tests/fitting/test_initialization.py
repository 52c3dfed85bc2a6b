"""Where hidden layers start: a draw, or a parent of the same width, in its box or in their own."""

import itertools
from functools import partial
from typing import Any

import pytest
import torch
from block_problems import flat_and_busy
from problems import Round, Watched, block_errors, fit, networks, widths_of
from torch import Tensor

from miner.fitting.capacity import Capacity, WidthRequest
from miner.fitting.initialization import (
    FreshWeights,
    ParentFrameWeights,
    Parents,
    SharedWeights,
    Weights,
)
from miner.fitting.steps import generator
from miner.kernels.backend import CompiledBackend
from miner.models.activations import Sine
from miner.models.encodings import CosineEncoding
from miner.models.network import BlockMLP, Parameters
from miner.pyramids.pyramid import LaplacianPyramid
from miner.representation import Representation
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
    mlp = BlockMLP(CosineEncoding(3), Sine(), width=5, depth=2)
    drawn = mlp.draw(3 * n_axes, torch.Generator())
    hidden = {name: tensor[None] for name, tensor in drawn.items()}
    fine = coordinates(2 * size, (2 * size,) * n_axes)
    parent = mlp.features(hidden, mlp.encode(fine)).unflatten(2, (2 * size,) * n_axes)
    for parity in itertools.product((0, 1), repeat=n_axes):
        frames = torch.zeros(1, 1 + n_axes).long()
        parents = Parents(torch.tensor([True]), hidden, frames, torch.tensor([parity]))
        child = ParentFrameWeights().inherited(parents)
        points = coordinates(size, (size,) * n_axes, child.frames[0].tolist())
        box = (slice(None), slice(None), *(slice(p * size, (p + 1) * size) for p in parity))
        found = mlp.features(child.hidden, mlp.encode(points))
        torch.testing.assert_close(found, parent[box].flatten(2))


STILL = partial(torch.optim.SGD, lr=1e-30)  # float32 parameters stay where they are
INHERITING = [SharedWeights(), SharedWeights(gain=0.5), ParentFrameWeights(1), ParentFrameWeights()]
PICTURE = flat_and_busy(46, 59)


class TwoWidths(Capacity):
    """Every third block is wider than the others."""

    def assign(self, request: WidthRequest) -> Tensor:
        return request.width + 2 * (torch.arange(len(request.n_pixels)) % 3 == 0)


def few_widths(max_refits: int = 1) -> Watched:
    """Widths that are often those of the parents, and often not."""
    return Watched(features_per_db=0.4, max_refits=max_refits)


def fit_widths(
    weights: Weights, capacity: Capacity | None = None, **changes: Any
) -> Representation:
    """Three levels of `PICTURE`, whose networks have a few widths."""
    own = {"pyramid": LaplacianPyramid(3), "max_steps": 10} | changes
    return fit(PICTURE, weights=weights, capacity=capacity or few_widths(), **own)


Once = tuple[Representation, list[Round]]  # a fit without refits, and what its capacity recorded


@pytest.fixture(scope="module", params=INHERITING, ids=str)
def weights(request: pytest.FixtureRequest) -> Weights:
    return request.param


@pytest.fixture(scope="module")
def once(weights: Weights) -> Once:
    capacity = few_widths(max_refits=0)
    return fit_widths(weights, capacity), capacity.rounds


@pytest.fixture(scope="module")
def at_once(weights: Weights) -> Representation:
    """By the compiled steps, every level in one chunk."""
    return fit_widths(weights, backend=CompiledBackend())


def parent(fitted: Representation, level: int, block: int) -> int:
    """Number of the coarser block that covers a block."""
    position = fitted.spec.grid(level).positions(torch.tensor([block]))
    return int(fitted.spec.grid(level + 1).numbers(position // 2))


def frames_of(fitted: Representation, level: int) -> dict[int, list[int]]:
    return {
        int(block): frame.tolist()
        for shard in fitted.shards[level]
        for block, frame in zip(shard.blocks, shard.frames, strict=True)
    }


def inherits(weights: Weights, fitted: Representation, level: int, block: int, width: int) -> bool:
    """Whether a block of this width has a parent to start from."""
    covering = parent(fitted, level, block)
    if widths_of(fitted, level + 1).get(covering) != width:
        return False
    generation = frames_of(fitted, level + 1)[covering][0]
    return not isinstance(weights, ParentFrameWeights) or generation < weights.max_generations


def test_children_of_parents_of_another_width_start_fresh(weights: Weights, once: Once) -> None:
    fitted, rounds = once
    for level, tried in zip((1, 0), rounds[1:], strict=True):
        stats = fitted.shards[level][0].stats
        assert len(fitted.active_blocks(level)) == stats.n_active == len(tried.widths)
        expected = [
            inherits(weights, fitted, level, block, width)
            for block, width in widths_of(fitted, level).items()
        ]
        assert stats.n_fresh == expected.count(False)
        assert 0 < stats.n_fresh < stats.n_active


def decoded_hidden(fitted: Representation, level: int) -> dict[int, Parameters]:
    return {
        block: {name: tensor for name, tensor in own.items() if name.startswith("hidden")}
        for block, own in networks(fitted, level).items()
    }


def test_a_block_starts_from_its_parent_or_from_the_draw_for_its_width(weights: Weights) -> None:
    fitted = fit_widths(weights, optimizer=STILL, max_steps=1)
    gain = weights.gain if isinstance(weights, SharedWeights) else 1.0
    counts = {True: 0, False: 0}
    for level in (1, 0):
        own, parents = (decoded_hidden(fitted, found) for found in (level, level + 1))
        for block, width in widths_of(fitted, level).items():
            is_child = inherits(weights, fitted, level, block, width)
            counts[is_child] += 1
            if is_child:
                covering = parents[parent(fitted, level, block)]
                start = {n: t * (1.0 if n.endswith(".a") else gain) for n, t in covering.items()}
            else:
                network = fitted.spec.model(level, width)
                start = network.model.draw(network.n_inputs, generator(0, level))
            torch.testing.assert_close(own[block], start, rtol=0, atol=0)
    assert min(counts.values()) > 5


@pytest.mark.parametrize("weights", [ParentFrameWeights(1), ParentFrameWeights()])
def test_a_child_is_in_the_frame_of_a_parent_of_its_width(weights: ParentFrameWeights) -> None:
    fitted = fit_widths(weights, TwoWidths(), backend=CompiledBackend())
    generations = set()
    for level in (1, 0):
        positions = fitted.spec.grid(level).positions
        for block, frame in frames_of(fitted, level).items():
            width = widths_of(fitted, level)[block]
            expected = [0, 0, 0]
            if inherits(weights, fitted, level, block, width):
                above = frames_of(fitted, level + 1)[parent(fitted, level, block)]
                (position,) = positions(torch.tensor([block])).tolist()
                halves = [2 * o + p % 2 for o, p in zip(above[1:], position, strict=True)]
                expected = [above[0] + 1, *halves]
            assert frame == expected
            generations.add(frame[0])
    assert generations == set(range(weights.max_generations + 1))


def test_a_blocks_error_is_what_rendering_gives(once: Once) -> None:
    fitted, rounds = once
    found, expected = block_errors(fitted, PICTURE)[fitted.active_blocks(0)], rounds[-1].mse
    assert len(found) == len(expected)
    torch.testing.assert_close(found, expected.double(), rtol=1e-2, atol=1e-10)


@pytest.mark.parametrize("blocks_per_shard", [1, pytest.param(7, marks=pytest.mark.slow)])
def test_parents_are_found_in_any_chunk(
    weights: Weights, at_once: Representation, blocks_per_shard: int
) -> None:
    apart = fit_widths(weights, backend=CompiledBackend(), blocks_per_shard=blocks_per_shard)
    for level in range(3):
        assert frames_of(apart, level) == frames_of(at_once, level)
        torch.testing.assert_close(networks(apart, level), networks(at_once, level), rtol=0, atol=0)
