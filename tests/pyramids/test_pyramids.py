"""Reduce and expand against PyTorch's pooling and interpolation; what levels fit."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from fake_device import FAKE, FakeDevice, values
from hypothesis import given
from hypothesis import strategies as st
from random_regions import regions
from torch import Tensor

from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid, Pyramid
from miner.pyramids.resample import predicted_signal, reduced_signal
from miner.signals.regions import Region, sides_of, slices
from miner.signals.signal import CPU, ArraySignal, SourceSignal

SIDES = st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple)
UNIT = st.floats(-1, 1, width=32)
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
LAPLACIAN = LaplacianPyramid()
reduce, expand = LAPLACIAN.reduce, LAPLACIAN.expand


def half(sides: tuple[int, ...]) -> tuple[int, ...]:
    return tuple((side + 1) // 2 for side in sides)


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@given(SIDES, UNIT)
def test_constants_are_kept_exactly(sides: tuple[int, ...], value: float) -> None:
    fine, coarse = torch.full((2, *sides), value), torch.full((2, *half(sides)), value)
    assert torch.equal(reduce(fine), coarse)
    assert torch.equal(expand(coarse, sides), fine)


@given(SIDES)
def test_reduce_is_average_pooling_of_the_edge_replicated_signal(sides: tuple[int, ...]) -> None:
    signal = noise(2, *sides)
    missing = [n for side in reversed(sides) for n in (0, side % 2)]
    pooled = POOLS[len(sides)](F.pad(signal[None], missing, mode="replicate"), 2)[0]
    torch.testing.assert_close(reduce(signal), pooled)


@given(SIDES)
def test_expand_is_cropped_linear_interpolation(sides: tuple[int, ...]) -> None:
    signal = noise(2, *half(sides))
    doubled = F.interpolate(
        signal[None], scale_factor=2, mode=MODES[len(sides)], align_corners=False
    )
    crop = (slice(None), *(slice(side) for side in sides))
    torch.testing.assert_close(expand(signal, sides), doubled[0][crop])


@given(SIDES)
def test_expand_stays_within_the_range(sides: tuple[int, ...]) -> None:
    signal = noise(1, *half(sides)).float()
    expanded = expand(signal, sides)
    assert signal.min() <= expanded.min() <= expanded.max() <= signal.max()


def test_resampling_leaves_its_argument_alone() -> None:
    signal = noise(1, 5, 6)
    reduce(signal)
    expand(signal, (9, 12))
    assert torch.equal(signal, noise(1, 5, 6))


@given(st.data(), SIDES)
def test_prediction_of_a_region_is_a_crop_of_the_whole(
    data: st.DataObject, sides: tuple[int, ...]
) -> None:
    coarser = noise(2, *half(sides)).float()
    region = data.draw(regions(sides))
    signal = ArraySignal(coarser.numpy())
    part = predicted_signal(LAPLACIAN, signal, (2, *sides), CPU).read(region)
    assert torch.equal(part, expand(coarser, sides)[(slice(None), *slices(region))])


@given(st.data(), SIDES)
def test_a_region_of_the_reduced_signal_is_a_crop_of_the_whole(
    data: st.DataObject, sides: tuple[int, ...]
) -> None:
    signal = noise(2, *sides).float()
    reduced = reduced_signal(LAPLACIAN, ArraySignal(signal))
    region = data.draw(regions(half(sides)))
    assert reduced.sides == half(sides)
    assert torch.equal(reduced.read(region), reduce(signal)[(slice(None), *slices(region))])


@given(SIDES, st.integers(0, 6))
def test_sides_of_levels_are_halved_again_and_again(sides: tuple[int, ...], level: int) -> None:
    expected = sides
    for _ in range(level):
        expected = half(expected)
    assert LAPLACIAN.level_shape(level, sides, 3) == (3, *expected)


def test_a_large_region_is_reduced_in_parts() -> None:
    signal, read = noise(1, 3, 6000).float(), []

    def part(region: Region) -> Tensor:
        read.append(sides_of(region))
        return signal[(slice(None), *slices(region))]

    once = reduced_signal(LAPLACIAN, SourceSignal(part, 1, (3, 6000)))
    twice = reduced_signal(LAPLACIAN, once).read(((0, 1), (10, 1500)))
    assert torch.equal(twice, reduce(reduce(signal))[..., 10:1500])
    assert max(columns for _, columns in read) <= 2048


def test_only_residuals_have_either_sign() -> None:
    assert [LAPLACIAN.is_signed(is_coarsest) for is_coarsest in (False, True)] == [True, False]
    assert not any(GaussianPyramid().is_signed(is_coarsest) for is_coarsest in (False, True))


OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "reduce": reduce,
    "expand": lambda signal: expand(signal, (41, 68)),
    "predict": lambda coarser: predicted_signal(
        LAPLACIAN, ArraySignal(coarser), (2, 41, 68), coarser.device
    ).read(((5, 30), (11, 68))),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_resampled_signals_stay_on_their_device(name: str) -> None:
    signal = noise(2, 21, 34)
    expected = OPERATIONS[name](signal)
    with FakeDevice() as device:
        found = OPERATIONS[name](signal.to(FAKE))
    assert torch.equal(values(found), expected)
    assert device.n_waits == 0


def test_the_coarsest_prediction_is_zero_on_its_device() -> None:
    assert torch.equal(
        predicted_signal(LAPLACIAN, None, (3, 9, 8), CPU).read(((2, 4), (0, 8))),
        torch.zeros(3, 2, 8),
    )
    with FakeDevice():
        found = predicted_signal(LAPLACIAN, None, (3, 9, 8), FAKE).read(((2, 4), (0, 8)))
    assert torch.equal(values(found), torch.zeros(3, 2, 8))


PYRAMIDS = [GaussianPyramid(), LaplacianPyramid()]


@pytest.mark.parametrize("pyramid", PYRAMIDS)
def test_merge_inverts_target_on_its_device(pyramid: Pyramid) -> None:
    signal, prediction = noise(2, 3, 5, 7)
    with FakeDevice():
        there, predicted = signal.to(FAKE), prediction.to(FAKE)
        merged = pyramid.merge(predicted, pyramid.target(there, predicted))
    torch.testing.assert_close(values(merged), signal, rtol=0, atol=1e-15)


def test_targets_are_the_signal_or_its_residual() -> None:
    signal, prediction = torch.tensor(0.75), torch.tensor(1.0)
    assert GaussianPyramid().target(signal, prediction) == 0.75
    assert LaplacianPyramid().target(signal, prediction) == -0.25


@pytest.mark.parametrize(
    ("sides", "n_levels"),
    [((1, 1), 1), ((128, 128), 1), ((129, 1), 2), ((1024, 1024), 4), ((1, 1024), 4), ((9, 129), 2)],
)
def test_automatic_levels_at_patches_of_32(sides: tuple[int, ...], n_levels: int) -> None:
    assert LaplacianPyramid().levels_for(sides, 32) == n_levels
    assert GaussianPyramid(n_levels=7).levels_for(sides, 32) == 7


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=3).map(tuple), st.integers(1, 64))
def test_automatic_levels_are_the_fewest_possible(sides: tuple[int, ...], patch_size: int) -> None:
    longer = [max(sides)]
    for _ in range(GaussianPyramid().levels_for(sides, patch_size) - 1):
        sides = half(sides)
        longer.append(max(sides))
    assert longer.pop() <= 4 * patch_size < min([*longer, 10**9])
