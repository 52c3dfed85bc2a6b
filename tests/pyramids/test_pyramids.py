"""What the blocks of a level fit, and how many levels there are."""

import pytest
import torch
from fake_device import FAKE, FakeDevice, values
from hypothesis import given
from hypothesis import strategies as st

from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid, Pyramid, half

PYRAMIDS = [GaussianPyramid(), LaplacianPyramid()]


@pytest.mark.parametrize("pyramid", PYRAMIDS)
def test_merge_inverts_target_on_its_device(pyramid: Pyramid) -> None:
    generator = torch.Generator().manual_seed(0)
    signal, prediction = torch.rand(2, 3, 5, 7, generator=generator, dtype=torch.float64)
    with FakeDevice():
        there, predicted = signal.to(FAKE), prediction.to(FAKE)
        merged = pyramid.merge(predicted, pyramid.target(there, predicted))
    torch.testing.assert_close(values(merged), signal, rtol=0, atol=1e-15)


def test_targets_are_the_signal_or_its_residual() -> None:
    signal, prediction = torch.tensor(0.75), torch.tensor(1.0)
    assert GaussianPyramid().target(signal, prediction) == 0.75
    assert LaplacianPyramid().target(signal, prediction) == -0.25


@pytest.mark.parametrize("is_coarsest", [True, False])
def test_only_laplacian_residuals_are_signed(is_coarsest: bool) -> None:
    assert not GaussianPyramid().has_signed_target(is_coarsest)
    assert LaplacianPyramid().has_signed_target(is_coarsest) is not is_coarsest


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


def test_a_pyramid_without_target_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Pyramid()  # type: ignore[abstract]
