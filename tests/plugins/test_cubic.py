"""A pyramid with wide filters: computed region by region, it has the bits of the whole."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from block_problems import CPU, noise, smooth
from cubic import CubicPyramid
from haar import HaarPyramid
from hypothesis import given
from hypothesis import strategies as st
from random_regions import regions
from torch import Tensor

import miner
from miner.api import compose_settings
from miner.config.build import build_settings
from miner.fitting.pyramid_fit import PyramidFit, make_spec
from miner.images.pixel_format import PixelFormat
from miner.pyramids import LaplacianPyramid, Pyramid
from miner.pyramids.resample import predicted_signal, reduced_signal
from miner.representation import Representation
from miner.signals.regions import Region, slices, whole
from miner.signals.scratch import Scratch
from miner.signals.signal import ArraySignal, Signal
from miner.signals.store import LocalSignalStore

SIDES = st.lists(st.integers(1, 30), min_size=1, max_size=3).map(tuple)
PYRAMID = CubicPyramid()
TINY: dict[str, Any] = {
    "pyramid": {"_target_": "cubic.CubicPyramid", "n_levels": 3},
    "patch_size": 8,
    "fitting": {"max_steps": 5},
    "model": {"width": 4},
}


class ShortSighted(CubicPyramid):
    """Declares less than it reads."""

    reduce_reach = 0
    expand_reach = 1


def coarser_sides(sides: Sequence[int]) -> tuple[int, ...]:
    return tuple(-(-side // 2) for side in sides)


def crop(signal: Tensor, region: Region) -> Tensor:
    return signal[(slice(None), *slices(region))]


def expanded(pyramid: CubicPyramid, coarser: Tensor, sides: tuple[int, ...]) -> Signal:
    return predicted_signal(pyramid, ArraySignal(coarser), (len(coarser), *sides), CPU)


@given(st.data(), SIDES)
def test_a_region_is_expanded_to_the_bits_of_the_whole(
    data: st.DataObject, sides: tuple[int, ...]
) -> None:
    coarser, region = noise(2, *coarser_sides(sides)), data.draw(regions(sides))
    found = expanded(PYRAMID, coarser, sides).read(region)
    assert torch.equal(found, crop(PYRAMID.expand(coarser, sides), region))


@given(st.data(), SIDES)
def test_a_region_is_reduced_to_the_bits_of_the_whole(
    data: st.DataObject, sides: tuple[int, ...]
) -> None:
    finer, region = noise(2, *sides), data.draw(regions(coarser_sides(sides)))
    found = reduced_signal(PYRAMID, ArraySignal(finer)).read(region)
    assert torch.equal(found, crop(PYRAMID.reduce(finer), region))


def test_too_short_a_reach_would_be_seen() -> None:
    signal, region = noise(1, 24, 24), ((8, 12), (8, 12))
    short = ShortSighted()
    expansion = expanded(short, signal, (48, 48)).read(region)
    assert not torch.equal(expansion, crop(PYRAMID.expand(signal, (48, 48)), region))
    reduction = reduced_signal(short, ArraySignal(signal)).read(region)
    assert not torch.equal(reduction, crop(PYRAMID.reduce(signal), region))


@pytest.mark.parametrize("pyramid", [LaplacianPyramid(), CubicPyramid(), HaarPyramid()])
@given(sides=SIDES)
def test_between_pixels_a_level_is_what_it_expands_to(
    pyramid: Pyramid, sides: tuple[int, ...]
) -> None:
    coarser = noise(2, *coarser_sides(sides))
    axes = [(torch.arange(side, dtype=torch.float64) + 0.5) / 2 for side in sides]
    points = torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")])
    found = pyramid.interpolate(coarser, points).unflatten(1, sides)
    torch.testing.assert_close(found, pyramid.expand(coarser, sides))


def test_interpolation_has_derivatives_and_reaches_beyond_the_edge() -> None:
    signal, places = noise(1, 5, 6).double().requires_grad_(), torch.tensor([[1.3], [4.1]])
    places = places.double().requires_grad_()
    assert torch.autograd.gradcheck(LaplacianPyramid().interpolate, (signal, places))
    assert torch.autograd.gradcheck(PYRAMID.interpolate, (signal, places))
    corner = torch.tensor([[-3.0, 8.0], [0.1, 9.0]])
    found = LaplacianPyramid().interpolate(signal.detach(), corner)
    torch.testing.assert_close(found, signal.detach()[:, [0, -1], [0, -1]])


def test_quadratics_and_constants_are_expanded_exactly() -> None:
    places = torch.arange(12.0)
    fine = (torch.arange(24.0) - 0.5) / 2
    found = PYRAMID.expand((places.square() - 3 * places)[None], (24,))[0]
    torch.testing.assert_close(found[4:20], (fine.square() - 3 * fine)[4:20])
    assert torch.equal(
        PYRAMID.expand(torch.full((1, 3, 4), 0.3), (5, 8)), torch.full((1, 5, 8), 0.3)
    )


@pytest.mark.parametrize("tile_side", [8, 1024])
def test_a_fit_reduces_as_the_pyramid_does(tile_side: int) -> None:
    signal, settings = noise(2, 37, 50), build_settings(compose_settings(TINY))
    spec = make_spec((37, 50), PixelFormat.of_values("float32", 2), settings)
    store = LocalSignalStore(CPU, Scratch(None), tile_side=tile_side)
    fit = PyramidFit(ArraySignal(signal.numpy()), spec, settings, store)
    expected = PYRAMID.reduce(PYRAMID.reduce(signal))
    assert torch.equal(fit.signals[2].read(whole((10, 13))), expected)


@pytest.mark.parametrize("sides", [(37, 26), (11, 18, 9)])
def test_a_level_is_predicted_as_the_pyramid_does(sides: tuple[int, ...]) -> None:
    axes = "CHW" if len(sides) == 2 else "CDHW"
    fitted = miner.fit(smooth(*sides).numpy(), axes=axes, **TINY)
    coarse = Representation(fitted.spec, {level: fitted.shards[level] for level in (1, 2)})
    prediction = PYRAMID.expand(coarse.reconstruct(1), sides)
    assert torch.equal(coarse.reconstruct(0), prediction)
    region = tuple((side // 3, side - 2) for side in sides)
    assert torch.equal(coarse.reconstruct(0, region), crop(prediction, region))
    part, expected = fitted.reconstruct(0, region), crop(fitted.reconstruct(0), region)
    torch.testing.assert_close(part, expected, rtol=0, atol=1e-6)
