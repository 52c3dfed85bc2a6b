"""SSIM against scikit-image and torchmetrics, where differences of large numbers are small too."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from miner.metrics.ssim import ssim_sum

Image = NDArray[np.float32]


def noise(*shape: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def flat(value: float) -> Image:
    return np.full((1, 30, 40), value, dtype=np.float32)


PAIRS = {
    "noise": (noise(3, 40, 33), noise(3, 40, 33, seed=1)),
    "one window": (noise(1, 11, 11), noise(1, 11, 11, seed=1)),
    "narrow": (noise(2, 11, 300), 0.9 * noise(2, 11, 300)),
    "nearly equal": (noise(3, 40, 33), np.clip(noise(3, 40, 33) + np.float32(1e-5), 0, 1)),
    "flat": (flat(0.999), flat(0.996)),
    "dark": (flat(0), flat(0.004)),
    "faint noise": (flat(0.9), flat(0.9) + 1e-3 * noise(1, 30, 40)),
}


def ssim(source: Image, reconstruction: Image) -> float:
    channels, height, width = source.shape
    return ssim_sum(source, reconstruction) / (channels * (height - 10) * (width - 10))


def skimage_ssim(source: Image, reconstruction: Image) -> float:
    _, similarity = structural_similarity(
        source.astype(np.float64),
        reconstruction.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        channel_axis=0,
        full=True,
    )
    return float(similarity[:, 5:-5, 5:-5].mean())


@pytest.mark.parametrize("name", PAIRS)
def test_ssim_agrees_with_scikit_image(name: str) -> None:
    assert ssim(*PAIRS[name]) == pytest.approx(skimage_ssim(*PAIRS[name]), abs=1e-10)


def test_ssim_agrees_with_torchmetrics() -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    source, reconstruction = (torch.from_numpy(one).double()[None] for one in PAIRS["noise"])
    # in float64: in float32, its variances of flat areas are off by as much as 1e-3
    _, similarity = structural_similarity_index_measure(
        reconstruction, source, sigma=1.5, data_range=1.0, return_full_image=True
    )
    expected = float(similarity[..., 5:-5, 5:-5].mean())
    assert ssim(*PAIRS["noise"]) == pytest.approx(expected, abs=1e-10)


def test_ssim_of_an_image_with_itself_is_one() -> None:
    assert ssim(PAIRS["noise"][0], PAIRS["noise"][0]) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("shape", [(3, 10, 50), (3, 50, 10), (1, 1, 1)])
def test_there_is_nothing_to_add_without_a_full_window(shape: tuple[int, int, int]) -> None:
    assert ssim_sum(noise(*shape), noise(*shape)) == 0
