"""Previews against means that are taken pixel by pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from miner.signals.regions import slices, tiles
from miner.visual.display import Preview


def image(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def filled(pixels: Tensor, tile_side: int, side: int) -> Preview:
    preview = Preview(tuple(pixels.shape[1:]), len(pixels), side)
    for tile in tiles(pixels.shape[1:], tile_side):
        preview.add(tile, pixels[(slice(None), *slices(tile))])
    return preview


def slow_preview(pixels: Tensor, factor: int) -> Tensor:
    rows = [band.split(factor, dim=2) for band in pixels.double().split(factor, dim=1)]
    return torch.stack([torch.stack([c.mean((1, 2)) for c in row], -1) for row in rows], 1).float()


@given(
    st.integers(1, 3), st.integers(1, 50), st.integers(1, 50), st.integers(1, 60), st.integers(1, 9)
)
def test_each_pixel_is_the_mean_of_those_it_stands_for(
    channels: int, height: int, width: int, tile_side: int, side: int
) -> None:
    pixels = image(channels, height, width)
    preview = filled(pixels, tile_side, side)
    expected = slow_preview(pixels, preview.factor).numpy()
    np.testing.assert_allclose(preview.pixels, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("sides", "factor"), [((1, 1), 1), ((2048, 5), 1), ((5, 2049), 2), ((32768, 9), 16)]
)
def test_factor_is_the_least_power_of_two_that_fits(sides: tuple[int, int], factor: int) -> None:
    preview = Preview(sides, 1)
    assert preview.factor == factor
    assert preview.pixels.shape == (1, *(-(-length // factor) for length in sides))


def test_small_image_is_its_own_preview() -> None:
    pixels = image(3, 20, 30)
    assert np.array_equal(filled(pixels, 7, 30).pixels, pixels.numpy())


@pytest.mark.parametrize("sides", [(0, 4), (4,), (4, 4, 4)])
def test_what_is_no_image_is_rejected(sides: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="give a height and a width"):
        Preview(sides, 1)
