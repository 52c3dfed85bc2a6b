"""Signals read in parts are the signals read whole."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miner.pyramids.prediction import ExpandedSignal, ZeroSignal
from miner.pyramids.resample import expand, half
from miner.signals.grid import PatchGrid
from miner.signals.regions import Region, sides_of, slices, tile_side, tiles, whole
from miner.signals.signal import ArraySignal

SIDES = st.lists(st.integers(1, 21), min_size=2, max_size=3).map(tuple)


def random_signal(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


@st.composite
def regions(draw: Any, sides: tuple[int, ...]) -> Region:
    ends = [sorted(draw(st.lists(st.integers(0, n), min_size=2, max_size=2))) for n in sides]
    firsts = [min(low, n - 1) for (low, _), n in zip(ends, sides, strict=True)]
    return tuple((low, max(high, low + 1)) for low, (_, high) in zip(firsts, ends, strict=True))


@given(st.data(), SIDES)
def test_prediction_of_a_region_is_a_crop_of_the_whole(data: Any, sides: tuple[int, ...]) -> None:
    coarser = random_signal(2, *half(sides))
    region = data.draw(regions(sides))
    part = ExpandedSignal(ArraySignal(coarser.numpy()), sides).read(region)
    assert torch.equal(part, expand(coarser, sides)[(slice(None), *slices(region))])


@given(st.data(), SIDES)
def test_region_that_is_written_is_read(data: Any, sides: tuple[int, ...]) -> None:
    image_signal = ArraySignal(random_signal(1, *sides).numpy())
    region = data.draw(regions(sides))
    image_signal.write(region, torch.full((1, *sides_of(region)), 7.0))
    assert bool((image_signal.read(region) == 7).all())
    assert int((image_signal.read(whole(sides)) == 7).sum()) == torch.Size(sides_of(region)).numel()


def test_what_is_read_is_nobody_elses() -> None:
    image_signal = ArraySignal(random_signal(1, 4, 4).numpy())
    image_signal.read(((0, 4), (0, 4))).zero_()
    assert bool(image_signal.read(((0, 4), (0, 4))).any())


def test_nothing_is_known_before_the_coarsest_level() -> None:
    assert ZeroSignal(3, (9, 8)).read(((2, 4), (0, 8))).shape == (3, 2, 8)


@given(SIDES, st.integers(1, 30))
def test_tiles_cover_everything_once(sides: tuple[int, ...], side: int) -> None:
    counts = torch.zeros(sides)
    for tile in tiles(sides, side):
        counts[slices(tile)] += 1
    assert bool((counts == 1).all())


@given(SIDES, st.integers(1, 9))
def test_tiles_of_a_grid_hold_whole_patches(sides: tuple[int, ...], patch_size: int) -> None:
    grid = PatchGrid(sides, patch_size)
    blocks = torch.cat([grid.blocks_in(tile) for tile in grid.tiles()])
    assert torch.equal(blocks.sort().values, torch.arange(grid.n_blocks))


@given(SIDES, st.integers(1, 9), st.integers(0, 3))
def test_curve_visits_every_block_once(sides: tuple[int, ...], patch_size: int, skip: int) -> None:
    grid = PatchGrid(sides, patch_size)
    blocks = torch.arange(grid.n_blocks)[:: skip + 1]
    assert torch.equal(grid.morton_order(blocks).sort().values, blocks)


def test_quarters_of_the_curve_are_quarters_of_the_image() -> None:
    grid = PatchGrid((64, 64), 8)
    for part in grid.morton_order(torch.arange(64)).split(16):
        places = grid.positions(part)
        assert (places.amax(0) - places.amin(0)).tolist() == [3, 3]


@pytest.mark.parametrize(
    ("device_type", "n_channels", "side"),
    [("cpu", 1, 1024), ("cpu", 99, 1024), ("cuda", 1, 2048), ("cuda", 8, 1448), ("cuda", 99, 1024)],
)
def test_tiles_suit_a_device_and_its_memory(device_type: str, n_channels: int, side: int) -> None:
    assert tile_side(device_type, n_channels) == side
