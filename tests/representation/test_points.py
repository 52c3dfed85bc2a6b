"""Values at coordinates and pixel numbers, against rendering and against a loop over points."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_device import FAKE, FakeDevice, values
from samples import make_spec, random_representation
from torch import Tensor

import miner
from miner.models.network import select
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid, Pyramid
from miner.representation import Representation, Shard, Spec
from miner.representation.shard import read_shard
from miner.signals.regions import Region, sides_of

sys.path.append(str(Path(__file__).parents[1] / "plugins"))
from cubic import CubicPyramid
from haar import HaarPyramid

SIDES = [(23, 30), (9, 13, 6), (1, 5)]
PYRAMIDS: list[Pyramid] = [GaussianPyramid(), LaplacianPyramid(), CubicPyramid(), HaarPyramid()]
WIDE = random_representation(make_spec((23, 30)))


def representation(sides: tuple[int, ...], pyramid: Pyramid) -> Representation:
    return random_representation(make_spec(sides, pyramid=pyramid))


def centres(sides: tuple[int, ...]) -> Tensor:
    """`(*S, D)` in [-1, 1], x first."""
    axes = [(torch.arange(side).double() + 0.5) * 2 / side - 1 for side in sides]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flip(-1)


def some_points(n: int, n_axes: int = 2) -> Tensor:
    return 2 * torch.rand(n, n_axes, dtype=torch.float64, generator=torch.manual_seed(0)) - 1


def one_point(shown: Representation, xy: list[float]) -> Tensor:
    """The value of a single point, whose block is looked up in all shards."""
    spec, grid = shown.spec, shown.spec.grid(0)
    sides = spec.sides
    place = torch.tensor([(x + 1) / 2 * n for x, n in zip(reversed(xy), sides, strict=True)])
    coarser = torch.from_numpy(shown.reconstruct(1).numpy())
    value = spec.pyramid.interpolate(coarser, place[:, None].double() / 2)[:, 0]
    position = (place / spec.patch_size).long()
    block = int(grid.numbers(position[None]))
    for shard in shown.shards[0]:
        for row in torch.nonzero(shard.blocks == block).flatten().tolist():
            generation, *offset = shard.frames[row].tolist()
            unit = place / spec.patch_size - position + torch.tensor(offset)
            network = spec.model(0, width := int(shard.widths[row]))
            own = (shard.widths[:row] == width).sum()[None]
            parameters = select(spec.storage.decode(shard.stored[width]), own)
            encoded = network.model.encode((2 * unit / 2**generation - 1)[:, None].float())
            output = network.outputs(parameters, encoded)[:, :, :, None]
            value = spec.pyramid.merge(value[None, :, None, None], output).flatten()
    return value.clamp(0, 1).float()


@pytest.mark.parametrize("pyramid", PYRAMIDS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("sides", SIDES, ids=str)
def test_centres_of_pixels_have_what_is_rendered(sides: tuple[int, ...], pyramid: Pyramid) -> None:
    shown = representation(sides, pyramid)
    rendered = torch.from_numpy(shown.render()).movedim(0, -1)
    torch.testing.assert_close(shown(centres(sides)), rendered, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pyramid", PYRAMIDS[:3], ids=lambda one: type(one).__name__)
def test_between_pixels_the_owner_answers_over_the_coarser_level(pyramid: Pyramid) -> None:
    shown, points = representation((23, 30), pyramid), some_points(60)
    expected = torch.stack([one_point(shown, xy) for xy in points.tolist()])
    torch.testing.assert_close(shown(points), expected, rtol=0, atol=2e-5)


def test_samples_of_several_pixels_are_constant_within_a_pixel() -> None:
    shown, points = representation((23, 30), HaarPyramid()), some_points(200)
    pixels = ((points.flip(-1) + 1) / 2 * torch.tensor([23, 30])).long()
    torch.testing.assert_close(shown(points), shown.at_pixels(pixels), rtol=0, atol=1e-5)


def test_edges_and_corners_belong_to_the_image() -> None:
    found = WIDE([[-1, -1], [1, 1], [1, -1], [-1, 1]])
    inside = WIDE(torch.tensor([[-1, -1], [1, 1], [1, -1], [-1, 1]]).double() * (1 - 1e-9))
    torch.testing.assert_close(found, inside)


@pytest.mark.parametrize("coarse_only", [False, True])
def test_derivatives_are_those_of_differences(coarse_only: bool) -> None:
    shards = {j: found for j, found in WIDE.shards.items() if j or not coarse_only}
    shown, points = Representation(WIDE.spec, shards), some_points(100).requires_grad_()
    (slope,) = torch.autograd.grad(shown(points).sum(), points)
    step = torch.tensor([1e-4, 0.0], dtype=torch.float64)
    with torch.no_grad():
        difference = (shown(points + step) - shown(points - step)).sum(1).double() / 2e-4
    far_from_edges = (slope[:, 0] - difference).abs() < 0.02 * (1 + difference.abs())
    assert far_from_edges.float().mean() > 0.9  # the others are at a border of patches or pixels
    assert slope.abs().amax() > 0.1


def test_shape_of_the_points_is_kept() -> None:
    points = some_points(12)
    flat = WIDE(points)
    assert torch.equal(WIDE(points.reshape(3, 1, 4, 2)), flat.reshape(3, 1, 4, 2))
    assert torch.equal(WIDE(points[5]), flat[5])
    assert torch.equal(WIDE(points.numpy()), flat)
    assert WIDE(points[:0]).shape == (0, 2)
    assert WIDE.at_pixels(torch.zeros(0, 2, dtype=torch.long)).shape == (0, 2)


def test_many_points_in_one_block_and_few_elsewhere() -> None:
    points = torch.cat([some_points(3000) * 0.02 + 0.5, some_points(20)])
    alone = torch.cat([WIDE(one[None]) for one in points[-30:]])
    torch.testing.assert_close(WIDE(points)[-30:], alone, rtol=0, atol=1e-6)


def test_far_points_read_the_shards_near_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path, spec: Spec) -> Shard:
        found.append(path.name)
        return read_shard(path, spec)

    found: list[str] = []
    shown = miner.load(random_representation(make_spec((4, 1600))).save(tmp_path))
    monkeypatch.setattr("miner.representation.store.read_shard", read)
    assert shown([[-1, 0], [1, 0]]).isfinite().all()
    assert shown.at_pixels([[0, 0], [3, 1599]]).isfinite().all()
    assert len(set(found)) < 20 < sum(map(len, shown.shards.values()))


@pytest.mark.parametrize("pyramid", [GaussianPyramid(), LaplacianPyramid()])
def test_many_points_need_little_of_the_coarser_level_at_once(
    pyramid: Pyramid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reconstruct(self: Representation, level: int, region: Region, device: object) -> Tensor:
        read.append(sides_of(region)[1])
        return original(self, level, region)

    original, read = Representation.reconstruct, list[int]()
    shown, points = representation((4, 1600), pyramid), some_points(900)
    alone = torch.cat([shown(one[None]) for one in points[:20]])
    monkeypatch.setattr(Representation, "reconstruct", reconstruct)
    torch.testing.assert_close(shown(points)[:20], alone, rtol=0, atol=1e-6)
    assert 200 < max(read) <= 256 + 2 * pyramid.expand_reach + 1


@pytest.mark.parametrize("pyramid", PYRAMIDS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("sides", SIDES, ids=str)
def test_pixels_have_the_bits_of_rendering(sides: tuple[int, ...], pyramid: Pyramid) -> None:
    shown = representation(sides, pyramid)
    index = torch.cartesian_prod(*map(torch.arange, sides)).reshape(*sides, -1)
    rendered = torch.from_numpy(shown.render()).movedim(0, -1)
    assert torch.equal(shown.at_pixels(index), rendered)
    for pixel in index.flatten(0, -2)[torch.randperm(len(index))[:9]]:
        assert torch.equal(shown.at_pixels(pixel), rendered[tuple(pixel)])


def test_one_pixel_of_networks_of_usual_size_has_the_same_bits() -> None:
    spec = make_spec((64, 64), n_levels=2)
    models = tuple(replace(one, model=replace(one.model, width=10)) for one in spec.models)
    shown = random_representation(replace(spec, patch_size=16, models=models))
    rendered = torch.from_numpy(shown.render())
    for pixel in ((0, 0), (20, 50), (63, 40)):
        assert torch.equal(shown.at_pixels(pixel), rendered[(slice(None), *pixel)])


@pytest.mark.parametrize(
    ("xy", "message"),
    [
        ([[0.0, 1.5]], r"xy=1.5: must lie in \[-1, 1\]; use xy.clamp.*at_pixels for pixel"),
        ([[0.0, float("nan")]], r"xy=nan: must lie in \[-1, 1\]"),
        ([[0.0, 0.0, 0.0]], r"xy of shape \(1, 3\): must be \(..., 2\), as x, y"),
        (0.5, r"xy of shape \(\)"),
    ],
)
def test_points_that_are_none_are_refused(xy: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WIDE(xy)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([[0, 30]], r"index=\(0, 30\): must lie in an image of \(23, 30\), counted from 0"),
        ([[-1, 3]], r"index=\(-1, 3\)"),
        ([[0.5, 3]], r"index of \(1, 2\) float32: must be whole numbers \(..., 2\), row first"),
        ([True, True], r"index of \(2,\) bool"),
        ([1, 2, 3], r"index of \(3,\) int64"),
    ],
)
def test_pixels_that_are_none_are_refused(index: object, message: str) -> None:
    with pytest.raises(IndexError, match=message):
        WIDE.at_pixels(index)


def test_points_on_another_device_stay_there() -> None:
    points, pixels = some_points(50), torch.tensor([[0, 0], [22, 29]])
    with FakeDevice():
        there = WIDE(points.to(FAKE)), WIDE.at_pixels(pixels.to(FAKE))
        assert there[0].device == there[1].device == FAKE
        found = [values(one) for one in there]
    torch.testing.assert_close(found[0], WIDE(points))
    assert torch.equal(found[1], WIDE.at_pixels(pixels))


@pytest.mark.slow
def test_a_million_points_take_half_a_second_of_two_cores() -> None:
    image = np.random.default_rng(0).random((3, 512, 512), dtype=np.float32)
    shown = miner.fit(image, experiment="fast", fitting={"max_steps": 2})
    assert len(shown.active_blocks(0)) == 32 * 32
    points, seconds = 2 * torch.rand(1_000_000, 2) - 1, []
    for _ in range(5):
        began = time.process_time()
        shown(points)
        seconds.append(time.process_time() - began)
    assert min(seconds) < 2 * 0.5
