"""Metrics against closed forms, scikit-image and their own untiled values."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from miner.evaluation import metrics
from miner.evaluation.metrics import mse, psnr_db, seam_ratio, ssim


def noisy_pair(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    source = torch.rand(shape, generator=generator)
    return source, source + 0.1 * torch.randn(shape, generator=generator)


def skimage_ssim(source: Tensor, reconstruction: Tensor) -> float:
    _, similarity = structural_similarity(
        source.numpy().astype(np.float64),
        reconstruction.clamp(0, 1).numpy().astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        channel_axis=0,
        full=True,
    )
    return float(similarity[:, 5:-5, 5:-5].mean())


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 20, 7), (2, 5, 6, 7)])
def test_mse_is_the_mean_square(shape: tuple[int, ...]) -> None:
    source, reconstruction = noisy_pair(*shape)
    expected = np.square(source.double().numpy() - reconstruction.double().numpy()).mean()
    assert mse(source, reconstruction) == pytest.approx(expected, rel=1e-12)


def test_mse_does_not_depend_on_the_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = noisy_pair(3, 23, 9)
    whole = mse(*pair)
    monkeypatch.setattr(metrics, "_SLAB_ELEMENTS", 100)
    assert mse(*pair) == pytest.approx(whole, rel=1e-12)


def test_mse_leaves_the_range_alone() -> None:
    assert mse(torch.ones(1, 2, 2), torch.full((1, 2, 2), 3.0)) == 4.0


def test_small_errors_survive_the_sum() -> None:
    source = torch.zeros(1, 2000, 2000)
    assert mse(source, source + 1e-4) == pytest.approx(1e-8, rel=1e-6)


def test_psnr_of_a_known_error() -> None:
    source = torch.full((3, 4, 4), 0.5)
    assert psnr_db(source, source + 0.1) == pytest.approx(20, abs=1e-5)


def test_psnr_clips_the_reconstruction() -> None:
    assert psnr_db(torch.ones(1, 4, 4), torch.full((1, 4, 4), 7.0)) == math.inf


def test_psnr_of_nan_is_nan() -> None:
    assert math.isnan(psnr_db(torch.ones(1, 4, 4), torch.full((1, 4, 4), math.nan)))


@pytest.mark.parametrize("function", [mse, psnr_db, ssim])
def test_differing_shapes_are_rejected(function: object) -> None:
    assert callable(function)
    with pytest.raises(ValueError, match=r"\(1, 4, 4\).*\(3, 4, 4\)"):
        function(torch.zeros(1, 4, 4), torch.zeros(3, 4, 4))


def test_an_empty_image_is_rejected() -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        mse(torch.zeros(1, 0, 4), torch.zeros(1, 0, 4))


@pytest.mark.parametrize("shape", [(1, 11, 11), (3, 40, 33), (2, 11, 300)])
def test_ssim_agrees_with_scikit_image(shape: tuple[int, int, int]) -> None:
    pair = noisy_pair(*shape)
    assert ssim(*pair) == pytest.approx(skimage_ssim(*pair), abs=2e-6)


@pytest.mark.parametrize("tile_size", [11, 16, 25, 39])
def test_ssim_does_not_depend_on_the_tiles(tile_size: int) -> None:
    pair = noisy_pair(2, 17, 40)
    assert ssim(*pair, tile_size=tile_size) == pytest.approx(ssim(*pair), abs=1e-6)


def test_ssim_of_an_image_with_itself_is_one() -> None:
    source, _ = noisy_pair(3, 20, 20)
    assert ssim(source, source) == pytest.approx(1, abs=1e-6)


def test_ssim_clips_the_reconstruction() -> None:
    source, _ = noisy_pair(1, 20, 20)
    source = source.round()
    assert ssim(source, 5 * source - 2) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 10, 50), (3, 50, 10), (1, 20, 20, 20)])
def test_ssim_is_undefined_without_a_full_window(shape: tuple[int, ...]) -> None:
    assert ssim(*noisy_pair(*shape)) is None


def test_ssim_rejects_a_tile_below_the_window() -> None:
    with pytest.raises(ValueError, match="tile_size=10"):
        ssim(*noisy_pair(1, 20, 20), tile_size=10)


def slow_seam_ratio(source: Tensor, reconstruction: Tensor, patch_size: int) -> float:
    """Look at each pixel: does a neighbour along an axis belong to another patch?"""
    error = (source - reconstruction.clamp(0, 1)).double().square()
    at_seam: list[float] = []
    inside: list[float] = []
    for index in np.ndindex(*source.shape[1:]):
        touches = any(
            0 <= i + step < side and (i + step) // patch_size != i // patch_size
            for i, side in zip(index, source.shape[1:], strict=True)
            for step in (-1, 1)
        )
        (at_seam if touches else inside).append(error[(slice(None), *index)].mean().item())
    return float(np.mean(at_seam) / np.mean(inside))


@pytest.mark.parametrize(
    ("shape", "patch_size"),
    [((3, 16, 16), 4), ((1, 13, 22), 5), ((2, 1, 20), 4), ((1, 7, 8, 9), 3)],
)
def test_seam_ratio_agrees_with_a_walk_over_pixels(
    shape: tuple[int, ...], patch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_SLAB_ELEMENTS", 64)
    pair = noisy_pair(*shape)
    expected = slow_seam_ratio(*pair, patch_size)
    assert seam_ratio(*pair, patch_size) == pytest.approx(expected, rel=1e-9)


def test_seam_ratio_ignores_the_outer_border() -> None:
    source = torch.full((1, 8, 8), 0.5)
    reconstruction = source + 0.1
    reconstruction[:, 0] = reconstruction[:, -1] = 1.0
    reconstruction[:, 3:5] = reconstruction[:, :, 3:5] = 0.5  # the only inner borders
    assert seam_ratio(source, reconstruction, 4) == 0


@pytest.mark.parametrize(
    ("side", "patch_size", "why"),
    [
        (8, 8, "no inner border"),
        (8, 2, "only corners inside, and no error there"),
        (8, 1, "nothing inside"),
    ],
)
def test_seam_ratio_is_undefined(side: int, patch_size: int, why: str) -> None:
    source = torch.full((1, side, side), 0.5)
    reconstruction = source.clone()
    reconstruction[:, 1:-1, 1:-1] += 0.1
    assert seam_ratio(source, reconstruction, patch_size) is None, why


def test_seam_ratio_rejects_an_empty_patch() -> None:
    with pytest.raises(ValueError, match="patch_size=0"):
        seam_ratio(*noisy_pair(1, 4, 4), 0)
