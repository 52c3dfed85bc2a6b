"""Reduce and expand against PyTorch's own pooling and interpolation, at any size."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from miner.pyramids.resample import expand, half, reduce

SIDES = st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple)
UNIT = st.floats(-1, 1, width=32)
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    ("sides", "coarser"), [((1,), (1,)), ((2, 3), (1, 2)), ((1024, 1, 7), (512, 1, 4))]
)
def test_half_rounds_up(sides: tuple[int, ...], coarser: tuple[int, ...]) -> None:
    assert half(sides) == coarser


@given(SIDES, UNIT)
def test_reduce_keeps_constants_exactly(sides: tuple[int, ...], value: float) -> None:
    assert torch.equal(reduce(torch.full((2, *sides), value)), torch.full((2, *half(sides)), value))


@given(SIDES, UNIT)
def test_expand_keeps_constants_exactly(sides: tuple[int, ...], value: float) -> None:
    expanded = expand(torch.full((2, *half(sides)), value), sides)
    assert torch.equal(expanded, torch.full((2, *sides), value))


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


@pytest.mark.parametrize("sides", [(7, 8), (8, 10), (8,), (8, 8, 8)])
def test_expand_refuses_other_sides(sides: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"this one has \(4, 3\)"):
        expand(torch.zeros(1, 4, 3), sides)


def test_resampling_leaves_its_argument_alone() -> None:
    signal = noise(1, 5, 6)
    reduce(signal)
    expand(signal, (9, 12))
    assert torch.equal(signal, noise(1, 5, 6))
