"""Previews against means that are computed cell by cell."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from miner.signals.regions import slices, tiles
from miner.visual.display import Preview


def slow_preview(pixels: Tensor, factor: int) -> Tensor:
    rows = [band.split(factor, dim=2) for band in pixels.double().split(factor, dim=1)]
    return torch.stack([torch.stack([c.mean((1, 2)) for c in row], -1) for row in rows], 1).float()


@given(
    st.integers(1, 3),
    st.integers(1, 50),
    st.integers(1, 50),
    st.integers(1, 20),
    st.integers(1, 60),
)
def test_each_pixel_is_the_mean_of_those_it_stands_for(
    channels: int, height: int, width: int, cells: int, side: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(channels, height, width, generator=generator)
    preview = Preview((height, width), channels, side)
    for tile in tiles((height, width), cells):  # which need not begin with a cell
        preview.add(tile, pixels[(slice(None), *slices(tile))])
    expected = slow_preview(pixels, preview.factor).numpy()
    np.testing.assert_allclose(preview.pixels, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("sides", "factor"),
    [((1, 1), 1), ((2048, 5), 1), ((5, 2049), 2), ((32768, 9), 16), ((1, 2**23), 4096)],
)
def test_factor_is_the_least_power_of_two(sides: tuple[int, int], factor: int) -> None:
    preview = Preview(sides, 1)
    assert preview.factor == factor
    assert preview.pixels.shape == (1, *(-(-length // factor) for length in sides))


def test_previews_of_several_processes_are_added() -> None:
    pixels = torch.rand(2, 30, 21, generator=torch.Generator().manual_seed(0))
    first, second, whole = (Preview((30, 21), 2, 8) for _ in range(3))
    for number, tile in enumerate(tiles((30, 21), 7)):
        values = pixels[(slice(None), *slices(tile))]
        (first, second)[number % 2].add(tile, values)
        whole.add(tile, values)
    first.sums += second.sums
    np.testing.assert_allclose(first.pixels, whole.pixels, rtol=1e-5)
