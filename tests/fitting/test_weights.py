"""Where hidden layers start: a draw, or the parent's, in a box of its own or in the parent's."""

import itertools
from functools import partial

import pytest
import torch
from problems import fit, fitter, noise, whole_of
from torch import Tensor

from miner.fitting.initialization import (
    FreshWeights,
    ParentFrameWeights,
    Parents,
    SharedWeights,
    Weights,
    find_parents,
)
from miner.models.activations import Sine
from miner.models.encodings import CosineEncoding
from miner.models.network import BlockMLP
from miner.models.parameters import Parameters, select
from miner.pyramids.pyramid import GaussianPyramid
from miner.representation import Representation
from miner.representation.render import ShardIndex
from miner.signals.grid import CoordinateFrame, coordinates

STILL = partial(torch.optim.SGD, lr=1e-30)  # float32 parameters stay where they are
ALL_WEIGHTS = [FreshWeights(), SharedWeights(), ParentFrameWeights()]
DRAWN = {"hidden.0.weight": torch.ones(1, 2), "hidden.0.a": torch.tensor(0.3)}
NONE_EXISTS = torch.tensor([False, False])


def two_parents(exists: Tensor, generation: int = 0) -> Parents:
    hidden = {"hidden.0.weight": torch.full((2, 1, 2), 7.0), "hidden.0.a": torch.full((2,), 5.0)}
    frames = torch.tensor([[generation, 0, 0], [generation, 0, 0]])
    return Parents(exists, hidden, frames, torch.tensor([[0, 1], [1, 1]]))


@pytest.mark.parametrize("weights", ALL_WEIGHTS)
def test_blocks_without_parents_start_from_the_draw(weights: Weights) -> None:
    start = weights.start(DRAWN, two_parents(NONE_EXISTS))
    assert start.hidden["hidden.0.weight"].tolist() == [[[1.0, 1.0]], [[1.0, 1.0]]]
    assert start.hidden["hidden.0.a"].tolist() == pytest.approx([0.3, 0.3])
    assert start.is_fresh.all()
    assert not start.frames.any()


def test_fresh_blocks_ignore_their_parents() -> None:
    start = FreshWeights().start(DRAWN, two_parents(~NONE_EXISTS))
    assert start.is_fresh.all()
    assert start.hidden["hidden.0.weight"].max() == 1.0


def test_gain_scales_weights_but_not_the_frequency() -> None:
    start = SharedWeights(gain=0.5).start(DRAWN, two_parents(~NONE_EXISTS))
    assert start.hidden["hidden.0.weight"].unique().tolist() == [3.5]
    assert start.hidden["hidden.0.a"].tolist() == [5.0, 5.0]


def test_gain_leaves_the_draw_alone() -> None:
    start = SharedWeights(gain=0.5).start(DRAWN, two_parents(torch.tensor([True, False])))
    assert start.hidden["hidden.0.weight"].tolist() == [[[3.5, 3.5]], [[1.0, 1.0]]]
    assert start.is_fresh.tolist() == [False, True]


def test_a_shared_start_has_a_box_of_its_own() -> None:
    assert not SharedWeights().start(DRAWN, two_parents(~NONE_EXISTS, generation=1)).frames.any()


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
    fine = coordinates(2 * size, (2 * size,) * n_axes, CoordinateFrame.own(n_axes))
    parent = mlp.features(hidden, mlp.encoding(fine)).unflatten(2, (2 * size,) * n_axes)
    for parity in itertools.product((0, 1), repeat=n_axes):
        parents = Parents(
            torch.tensor([True]), hidden, torch.zeros(1, 1 + n_axes).long(), torch.tensor([parity])
        )
        start = ParentFrameWeights().start({n: t[0] for n, t in hidden.items()}, parents)
        frame = CoordinateFrame(int(start.frames[0, 0]), tuple(start.frames[0, 1:].tolist()))
        points = coordinates(size, (size,) * n_axes, frame)
        box = (slice(None), slice(None), *(slice(p * size, (p + 1) * size) for p in parity))
        found = mlp.features(start.hidden, mlp.encoding(points))
        torch.testing.assert_close(found, parent[box].flatten(2))


def hidden_of(representation: Representation, level: int) -> Parameters:
    (shard,) = representation.shards[level]
    model = representation.spec.model(level)
    (stored,) = shard.stored.values()
    decoded = representation.spec.storage.decode(stored)
    return {name: decoded[name] for name in model.mlp.shapes()}


def row_of_parent(representation: Representation, level: int) -> Tensor:
    positions = representation.spec.grid(level).positions(representation.shards[level][0].blocks)
    wanted = representation.spec.grid(level + 1).numbers(positions // 2)
    return torch.searchsorted(representation.active_blocks(level + 1), wanted)


@pytest.mark.parametrize("weights", [SharedWeights(gain=0.5), ParentFrameWeights()])
def test_a_fit_starts_from_what_is_stored_of_the_parents(weights: Weights) -> None:
    fitted = fit(noise(1, 29, 23), weights=weights, optimizer=STILL)
    parents = select(hidden_of(fitted, 1), row_of_parent(fitted, 0))
    gain = weights.gain if isinstance(weights, SharedWeights) else 1.0
    scaled = {n: t * (1.0 if n.endswith(".a") else gain) for n, t in parents.items()}
    torch.testing.assert_close(hidden_of(fitted, 0), scaled, rtol=0, atol=0)
    assert fitted.shards[0][0].stats.n_fresh == 0


def test_frames_are_stored_generation_by_generation() -> None:
    fitted = fit(noise(1, 29, 23), weights=ParentFrameWeights(1), pyramid=GaussianPyramid(3))
    generations = [fitted.shards[level][0].frames[:, 0].unique().tolist() for level in (2, 1, 0)]
    assert generations == [[0], [1], [0]]


def test_a_fit_in_frames_renders_what_it_measured() -> None:
    changes = {"weights": ParentFrameWeights(), "pyramid": GaussianPyramid(3), "max_mse": 1e-9}
    running = fitter(noise(1, 29, 23), **changes)
    shards = {}
    for level in (2, 1, 0):
        level_fit = running.start_level(level)
        shards[level] = [level_fit.fit_chunk(0)]
        running.finish_level(level_fit, shards[level])
    fitted = Representation(running.spec, shards).reconstruct()
    error = (fitted - whole_of(running.signals[0])).square()
    assert float(error.sum()) == pytest.approx(shards[0][0].stats.curve[-1][2], rel=1e-3)
    assert shards[0][0].frames[:, 0].eq(2).all()


@pytest.mark.parametrize("weights", [SharedWeights(), ParentFrameWeights()])
def test_children_of_inactive_parents_start_fresh(weights: Weights) -> None:
    checkers = torch.zeros(1, 32, 32)
    checkers[:, ::2, ::2] = checkers[:, 1::2, 1::2] = 1.0  # plain grey at every coarser level
    fitted = fit(checkers, weights=weights, pyramid=GaussianPyramid(3))
    assert len(fitted.active_blocks(1)) == 0
    assert fitted.shards[0][0].stats.n_fresh == 16


def test_children_of_parents_of_another_shape_start_fresh() -> None:
    fitted = fit(noise(1, 29, 23), weights=SharedWeights(), width=[4, 6])
    assert fitted.shards[0][0].stats.n_fresh == fitted.shards[0][0].stats.n_active == 12


def test_parents_are_found_whatever_the_order_of_the_shards() -> None:
    running = fitter(noise(1, 32, 32), blocks_per_shard=1)
    coarse = running.start_level(1)
    shards = [coarse.fit_chunk(chunk) for chunk in (2, 0, 3)]
    index, device = ShardIndex(coarse.grid, shards), torch.device("cpu")
    parents = find_parents(running.spec, 0, 6, torch.arange(16), index, device)
    covered = torch.tensor([0, 0, 1, 1] * 2 + [2, 2, 3, 3] * 2)
    assert torch.equal(parents.exists, covered != 1)
    first = shards[1].stored[6]["hidden.0.weight"][0]
    assert torch.equal(parents.hidden["hidden.0.weight"][0], first)


def test_levels_draw_apart_and_blocks_of_a_level_alike() -> None:
    fitted = fit(noise(1, 29, 23), optimizer=STILL)
    fine, coarse = (hidden_of(fitted, level)["hidden.0.weight"] for level in (0, 1))
    assert torch.equal(fine, fine[:1].expand_as(fine))
    assert not torch.equal(fine[0], coarse[0])
