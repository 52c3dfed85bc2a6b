"""Tiles, patches of any size, and the coordinates of their pixels."""

import itertools
import math

import pytest
import torch
from block_problems import noise
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from miner.signals.grid import PatchGrid, coordinates
from miner.signals.regions import slices, tiles
from miner.signals.scratch import Scratch
from miner.signals.store import LocalSignalStore

SIDES = st.lists(st.integers(1, 20), min_size=1, max_size=3).map(tuple)
GRIDS = st.builds(PatchGrid, SIDES, st.integers(1, 9))
RAGGED = PatchGrid((5, 7), 3)


def all_blocks(grid: PatchGrid) -> Tensor:
    return torch.arange(grid.n_blocks)


@given(GRIDS)
def test_patches_join_to_the_signal_they_were_cut_from(grid: PatchGrid) -> None:
    signal, blocks = noise(2, *grid.sides), all_blocks(grid)
    tiled = grid.tiled(torch.zeros_like(signal))
    tiled[tuple(grid.positions(blocks).T)] = grid.cut(signal, blocks)
    assert torch.equal(grid.joined(tiled), signal)


@given(GRIDS)
def test_positions_are_those_of_torch(grid: PatchGrid) -> None:
    expected = torch.stack(torch.unravel_index(all_blocks(grid), grid.counts), dim=-1)
    torch.testing.assert_close(grid.positions(all_blocks(grid)), expected, rtol=0, atol=0)
    assert torch.equal(grid.numbers(expected), all_blocks(grid))


@given(SIDES, st.integers(1, 30))
def test_tiles_cover_everything_once(sides: tuple[int, ...], side: int) -> None:
    counts = torch.zeros(sides)
    for tile in tiles(sides, side):
        counts[slices(tile)] += 1
    assert bool((counts == 1).all())


@given(GRIDS)
def test_tiles_of_a_grid_hold_whole_patches(grid: PatchGrid) -> None:
    blocks = torch.cat([grid.blocks_in(tile) for tile in grid.tiles(8)])
    assert torch.equal(blocks.sort().values, all_blocks(grid))


@pytest.mark.parametrize(
    ("device_type", "n_channels", "side"),
    [("cpu", 1, 1024), ("cpu", 99, 1024), ("cuda", 1, 2048), ("cuda", 8, 1448), ("cuda", 99, 1024)],
)
def test_tiles_suit_a_device_and_its_memory(device_type: str, n_channels: int, side: int) -> None:
    store = LocalSignalStore(torch.device(device_type), Scratch(None))
    assert store.tile_side_for(n_channels) == side


@given(GRIDS, st.integers(1, 4))
def test_morton_order_has_every_block_once(grid: PatchGrid, step: int) -> None:
    blocks = all_blocks(grid)[::step]
    assert torch.equal(grid.morton_order(blocks).sort().values, blocks)


def test_quarters_of_the_morton_order_are_quarters_of_the_image() -> None:
    grid = PatchGrid((64, 64), 8)
    for part in grid.morton_order(torch.arange(64)).split(16):
        positions = grid.positions(part)
        assert (positions.amax(0) - positions.amin(0)).tolist() == [3, 3]


@given(GRIDS)
def test_blocks_cover_every_pixel_once(grid: PatchGrid) -> None:
    assert torch.equal(grid.numbers(grid.positions(all_blocks(grid))), all_blocks(grid))
    valid_sizes = grid.valid_sizes(all_blocks(grid))
    assert int(valid_sizes.prod(-1).sum()) == math.prod(grid.sides)
    assert bool(((valid_sizes >= 1) & (valid_sizes <= grid.patch_size)).all())


def test_blocks_are_numbered_row_by_row() -> None:
    assert RAGGED.valid_sizes(torch.tensor([0, 5])).tolist() == [[3, 3], [2, 1]]
    assert RAGGED.counts == (2, 3)
    assert RAGGED.positions(torch.tensor([0, 2, 3])).tolist() == [[0, 0], [0, 2], [1, 0]]


def test_cut_takes_the_pixels_of_its_blocks_in_their_order() -> None:
    signal, some = noise(2, 5, 7), torch.tensor([4, 0, 1])
    assert torch.equal(RAGGED.cut(signal, some), RAGGED.cut(signal, all_blocks(RAGGED))[some])
    assert torch.equal(RAGGED.cut(signal, some)[2], signal[:, :3, 3:6])
    assert RAGGED.cut(torch.ones(1, 5, 7), torch.tensor([5])).eq(1).all()  # its edge goes on


def test_tiles_are_a_copy() -> None:
    signal = noise(2, 6, 6)  # whole patches: nothing is padded, so nothing is copied on the way
    PatchGrid((6, 6), 3).tiled(signal).zero_()
    assert torch.equal(signal, noise(2, 6, 6))


@given(GRIDS)
def test_block_means_count_real_pixels_only(grid: PatchGrid) -> None:
    signal = noise(2, *grid.sides)
    expected = []
    for position in itertools.product(*(range(count) for count in grid.counts)):
        box = [slice(p * grid.patch_size, (p + 1) * grid.patch_size) for p in position]
        expected.append(signal[(slice(None), *box)].double().mean())
    torch.testing.assert_close(grid.block_means(signal), torch.stack(expected))


@given(st.integers(1, 64))
def test_coordinates_are_pixel_centres_row_by_row(patch_size: int) -> None:
    (line,) = coordinates(patch_size, (patch_size,))
    torch.testing.assert_close(line, (torch.arange(patch_size) + 0.5) * 2 / patch_size - 1)
    points = coordinates(2, (2, 2))
    assert points.T.tolist() == [[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]]


@pytest.mark.parametrize("valid_size", [(1, 1), (2, 5), (5, 3), (4, 1, 5)])
def test_a_ragged_block_has_the_coordinates_of_its_real_pixels(valid_size: tuple[int, ...]) -> None:
    n_axes = len(valid_size)
    whole = coordinates(5, (5,) * n_axes).unflatten(1, (5,) * n_axes)
    crop = whole[(slice(None), *(slice(side) for side in valid_size))]
    assert torch.equal(coordinates(5, valid_size), crop.flatten(1))


@pytest.mark.parametrize("n_axes", [2, 3])
@pytest.mark.parametrize("generation", [1, 2])
def test_descendants_tile_the_box_of_their_ancestor(n_axes: int, generation: int) -> None:
    size, parts = 5, 2**generation
    tiled = torch.empty(n_axes, *[parts * size] * n_axes)
    for position in itertools.product(range(parts), repeat=n_axes):
        frame = (generation, *position)
        box = (slice(None), *(slice(p * size, (p + 1) * size) for p in position))
        tiled[box] = coordinates(size, (size,) * n_axes, frame).unflatten(1, (size,) * n_axes)
    ancestor = coordinates(parts * size, (parts * size,) * n_axes)
    torch.testing.assert_close(tiled.flatten(1), ancestor)
