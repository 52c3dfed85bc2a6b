"""Rendering against a loop over blocks, regions against the whole, a device against the CPU."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from fake_device import FAKE, FakeDevice, values
from hypothesis import given
from random_regions import regions
from samples import STORAGES, make_spec, random_representation
from torch import Tensor

from miner.models.network import select
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid, Pyramid
from miner.representation import Representation, Spec
from miner.representation.rendering import by_row
from miner.representation.storage import Storage
from miner.signals.grid import coordinates
from miner.signals.regions import Region, slices

SPEC_2D, SPEC_3D = make_spec((23, 30)), make_spec((9, 13, 6))
SHOWN = {spec: random_representation(spec) for spec in (SPEC_2D, SPEC_3D)}
PYRAMIDS = [GaussianPyramid(), LaplacianPyramid()]


def block_by_block(shown: Representation, level: int) -> Tensor:
    """The reconstruction, a pixel box at a time."""
    spec, grid = shown.spec, shown.spec.grid(level)
    if spec.is_coarsest(level):
        values = torch.zeros(spec.n_channels, *grid.sides)
    else:
        values = spec.pyramid.expand(block_by_block(shown, level + 1), grid.sides)
    for shard, row in ((s, r) for s in shown.shards[level] for r in range(len(s.blocks))):
        (first,) = grid.positions(shard.blocks[row : row + 1]) * spec.patch_size
        (valid_size,) = grid.valid_sizes(shard.blocks[row : row + 1])
        points = coordinates(spec.patch_size, valid_size.tolist(), shard.frames[row].tolist())
        width = int(shard.widths[row])
        own = spec.storage.decode(shard.stored[width])
        one = select(own, (shard.widths[:row] == width).sum()[None])
        model = spec.model(level, width)
        (outputs,) = model.outputs(one, model.model.encode(points))
        box = (slice(None), *(slice(a, a + n) for a, n in zip(first, valid_size, strict=True)))
        values[box] = spec.pyramid.merge(values[box], outputs.unflatten(1, tuple(valid_size)))
    return values


@pytest.mark.parametrize("pyramid", PYRAMIDS)
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("sides", [(23, 30), (9, 13, 6), (1, 1), (1, 17)], ids=str)
def test_rendering_is_a_loop_over_decoded_blocks(
    sides: tuple[int, ...], storage: Storage, pyramid: Pyramid
) -> None:
    shown = random_representation(make_spec(sides, storage=storage, pyramid=pyramid))
    for level in range(3):
        torch.testing.assert_close(shown.reconstruct(level), block_by_block(shown, level))


@dataclass(frozen=True)
class WithPrediction(GaussianPyramid):
    """Renders the coarser level although no active block needs it."""

    merges_prediction: ClassVar[bool] = True


@pytest.mark.parametrize("sides", [(23, 30), (9, 13, 6)], ids=str)
def test_a_coarser_level_that_is_not_needed_changes_no_bit(sides: tuple[int, ...]) -> None:
    spec = make_spec(sides, pyramid=GaussianPyramid())
    shown = random_representation(spec)
    twin = Representation(replace(spec, pyramid=WithPrediction()), shown.shards)
    blocks, grid = shown.active_blocks(0), spec.grid(0)
    assert 0 < len(blocks) < grid.n_blocks
    for position in grid.positions(torch.arange(grid.n_blocks)).tolist():
        box = tuple((4 * k, min(4 * k + 4, side)) for k, side in zip(position, sides, strict=True))
        assert torch.equal(shown.reconstruct(0, box), twin.reconstruct(0, box))
    points = 2 * torch.rand(200, len(sides), generator=torch.manual_seed(0)) - 1
    assert torch.equal(shown(points), twin(points))


def test_a_coarser_level_that_is_not_needed_is_not_rendered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = random_representation(make_spec((23, 30), pyramid=GaussianPyramid()))
    ((row, column),) = shown.spec.grid(0).positions(shown.active_blocks(0)[:1]).tolist()
    box, point = ((4 * row, 4 * row + 4), (4 * column, 4 * column + 4)), (4 * row + 1, 4 * column)
    monkeypatch.setattr(GaussianPyramid, "expand", None)
    monkeypatch.setattr(GaussianPyramid, "interpolate", None)
    shown.reconstruct(0, box)
    shown.at_pixels([point])
    with pytest.raises(TypeError):
        shown.reconstruct(0)


@pytest.mark.parametrize("sides", [(45, 70), (9, 13, 30), (700, 13)], ids=str)
def test_coarse_blocks_are_evaluated_at_finer_pixels(sides: tuple[int, ...]) -> None:
    n_levels = 8 if 700 in sides else 3  # blocks of 512 pixels are evaluated in parts
    spec = make_spec(sides, n_levels, pyramid=GaussianPyramid())
    shown = random_representation(replace(spec, evaluates_coarser=True))
    whole = shown.reconstruct()
    box = tuple((side // 3, side // 3 + 5) for side in sides)
    part = shown.reconstruct(0, box)
    assert torch.equal(part, whole[(slice(None), *(slice(*ends) for ends in box))])
    axes = [
        (torch.arange(*ends).double() + 0.5) * 2 / n - 1 for ends, n in zip(box, sides, strict=True)
    ]
    xy = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flip(-1)
    torch.testing.assert_close(shown(xy, clip=False).movedim(-1, 0), part, rtol=0, atol=1e-5)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("spec", SHOWN, ids=["2d", "3d"])
def test_a_region_is_a_crop_of_the_whole(spec: Spec, level: int) -> None:
    shown = SHOWN[spec]
    whole = shown.reconstruct(level)

    @given(regions(shown.spec.level_sides[level]))
    def check(region: Region) -> None:
        part = shown.reconstruct(level, region)
        expected = whole[(slice(None), *slices(region))]
        torch.testing.assert_close(part, expected, rtol=0, atol=1e-6)

    check()


def test_a_level_without_shards_is_its_prediction() -> None:
    full = SHOWN[SPEC_2D]
    coarse = Representation(SPEC_2D, {2: full.shards[2]})
    expand = SPEC_2D.pyramid.expand
    expected = expand(expand(full.reconstruct(2), (12, 15)), (23, 30))
    assert torch.equal(coarse.reconstruct(0), expected)
    assert not Representation(SPEC_2D, {}).render().any()  # black


def test_rendering_is_clipped_and_reconstruction_is_not() -> None:
    shown = SHOWN[SPEC_2D]
    reconstructed = shown.reconstruct()
    assert reconstructed.min() < 0 < 1 < reconstructed.max()
    with FakeDevice() as device:
        for image in (shown.render(), shown.render(device=FAKE)):
            assert torch.equal(torch.from_numpy(image), reconstructed.clamp(0, 1))
    assert device.n_waits == 1  # the image is copied once, as a whole


def test_the_order_of_shards_does_not_matter() -> None:
    shown = SHOWN[SPEC_2D]
    backwards = {level: shards[::-1] for level, shards in shown.shards.items()}
    again = Representation(SPEC_2D, backwards)
    assert torch.equal(again.reconstruct(), shown.reconstruct())
    assert torch.equal(again.active_blocks(0), shown.active_blocks(0))


@pytest.mark.parametrize("rows", [(0, 0), (5, 4), (-1, 5), (0, 24)])
def test_what_is_outside_the_image_is_refused(rows: tuple[int, int]) -> None:
    for region in ((rows, (0, 5)), (), ((0, 5),), ((0, 5),) * 3):
        with pytest.raises(ValueError, match="must lie within"):
            SHOWN[SPEC_2D].render(0, region)
    for level in (-1, 3):
        with pytest.raises(ValueError, match=rf"level={level}: must be 0 \(full size\) to 2"):
            SHOWN[SPEC_2D].render(level)


def test_parameters_are_counted_for_active_blocks() -> None:
    shown = Representation(SPEC_2D, {0: SHOWN[SPEC_2D].shards[0]})
    # 4 inputs, two layers with a trained number each, 2 channels
    widths = [width for shard in shown.shards[0] for width in shard.widths.tolist()]
    counts = [4 * w + w + 1 + w * w + w + 1 + w * 2 + 2 for w in widths]
    assert len(set(counts)) == 3
    assert len(counts) == len(shown.active_blocks(0))
    assert shown.n_parameters == sum(counts)
    coarse = Representation(SPEC_2D, {1: SHOWN[SPEC_2D].shards[1]})
    assert Representation(SPEC_2D, shown.shards | coarse.shards).n_parameters == (
        sum(counts) + coarse.n_parameters
    )


@pytest.mark.parametrize("region", [((0, 23), (0, 30)), ((3, 5), (9, 30))])
@pytest.mark.parametrize("pyramid", PYRAMIDS)
@pytest.mark.parametrize("storage", STORAGES)
def test_a_region_is_rendered_on_the_device(
    storage: Storage, pyramid: Pyramid, region: Region
) -> None:
    shown = random_representation(make_spec((23, 30), storage=storage, pyramid=pyramid))
    expected = shown.reconstruct(0, region)
    with FakeDevice() as device:
        found = shown.reconstruct(0, region, FAKE)
    assert torch.equal(values(found), expected)
    assert device.n_waits == 0


ROWS = [[], [[4, 2]], [[4, 2]] * 5, [[4, 2]] * 5 + [[4, 1]], [[1, 0], [0, 7], [1, 0], [0, 0]]]


@pytest.mark.parametrize("listed", ROWS, ids=["none", "one", "equal", "equal but one", "mixed"])
def test_blocks_are_grouped_by_equal_rows(listed: list[list[int]]) -> None:
    rows = torch.tensor(listed, dtype=torch.long).reshape(-1, 2)
    expected: dict[tuple[int, ...], list[int]] = {}
    for number, row in enumerate(listed):
        expected.setdefault(tuple(row), []).append(number)
    found = [(row, members.tolist()) for row, members in by_row(rows)]
    assert found == sorted(expected.items())
