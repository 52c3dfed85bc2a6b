"""PSNR, SSIM and seam ratio, whole and over tiles, against closed forms and other libraries."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from thread_ranks import ThreadRank, in_threads
from torch import Tensor

from miner.metrics.base import TileMetric
from miner.metrics.scores import (
    SSIM_REACH,
    Evaluation,
    psnr_of_sse,
    squared_error,
    ssim_sum,
)
from miner.signals.grid import PatchGrid
from miner.signals.regions import Region, extended, slices, tiles
from miner.support.communication import items_of_rank

Image = NDArray[np.float32]


def psnr_db(source: Tensor, reconstruction: Tensor) -> float:
    return psnr_of_sse(float(squared_error(source, reconstruction).sum()), source.numel())


def noise(*shape: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def flat(value: float) -> Image:
    return np.full((1, 30, 40), value, dtype=np.float32)


PAIRS = {
    "noise": (noise(3, 40, 33), noise(3, 40, 33, seed=1)),
    "equal, thus 1": (noise(3, 40, 33), noise(3, 40, 33)),
    "one window": (noise(1, 11, 11), noise(1, 11, 11, seed=1)),
    "narrow": (noise(2, 11, 300), 0.9 * noise(2, 11, 300)),
    "nearly equal": (noise(3, 40, 33), np.clip(noise(3, 40, 33) + np.float32(1e-5), 0, 1)),
    "flat": (flat(0.999), flat(0.996)),
    "dark": (flat(0), flat(0.004)),
    "faint noise": (flat(0.9), flat(0.9) + 1e-3 * noise(1, 30, 40)),
}


def noisy_pair(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(shape, generator=generator)
    return source, source + 0.1 * torch.randn(shape, generator=generator)


def scores(
    source: Tensor, reconstruction: Tensor, tile_side: int = 64, patch_size: int = 4
) -> dict[str, Any]:
    """The scores of two signals that are compared tile by tile."""
    sides = source.shape[1:]
    evaluation = Evaluation(PatchGrid(tuple(sides), patch_size), len(source))
    for tile in tiles(sides, tile_side):
        box = (slice(None), *slices(extended(tile, sides, SSIM_REACH)))
        evaluation.add(tile, source[box], reconstruction[box].clamp(0, 1))
    return evaluation.scores()


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 20, 7), (2, 5, 6, 7)])
def test_squared_error_is_the_sum_over_channels(shape: tuple[int, ...]) -> None:
    source, reconstruction = noisy_pair(*shape)
    expected = np.square(source.double().numpy() - reconstruction.double().clamp(0, 1).numpy())
    found = squared_error(source, reconstruction).numpy()
    np.testing.assert_allclose(found, expected.sum(axis=0), rtol=2e-6)


@pytest.mark.parametrize(
    ("shape", "value", "error", "psnr"),
    [
        ((3, 4, 4), 0.5, 0.1, 20),
        ((1, 2000, 2000), 0.0, 1e-4, 80),  # small errors survive the sum
        ((1, 4, 4), 1.0, 6.0, math.inf),  # the reconstruction is clipped
        ((1, 4, 4), 1.0, math.nan, math.nan),
    ],
)
def test_psnr_of_a_known_error(
    shape: tuple[int, ...], value: float, error: float, psnr: float
) -> None:
    source = torch.full(shape, value)
    assert psnr_db(source, source + error) == pytest.approx(psnr, abs=1e-5, nan_ok=True)


def test_images_without_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        psnr_db(torch.zeros(1, 0, 4), torch.zeros(1, 0, 4))


def slow_seam_ratio(source: Tensor, reconstruction: Tensor, patch_size: int) -> float:
    """Look at each pixel: does a neighbour along an axis belong to another patch?"""
    error = (source - reconstruction.clamp(0, 1)).double().square()
    found: dict[bool, list[float]] = {True: [], False: []}
    for index in np.ndindex(*source.shape[1:]):
        touches = any(
            0 <= i + step < side and (i + step) // patch_size != i // patch_size
            for i, side in zip(index, source.shape[1:], strict=True)
            for step in (-1, 1)
        )
        found[touches].append(error[(slice(None), *index)].mean().item())
    return float(np.mean(found[True]) / np.mean(found[False]))


@pytest.mark.parametrize(
    ("shape", "patch_size"),
    [((3, 16, 16), 4), ((1, 13, 22), 5), ((2, 1, 20), 4), ((1, 7, 8, 9), 3)],
)
@pytest.mark.parametrize("tile_side", [6, 64])
def test_seam_ratio_agrees_with_a_walk_over_pixels(
    shape: tuple[int, ...], patch_size: int, tile_side: int
) -> None:
    pair = noisy_pair(*shape)
    expected = slow_seam_ratio(*pair, patch_size)
    found = scores(*pair, tile_side, patch_size)["seam_ratio"]
    assert found == pytest.approx(expected, rel=1e-6)


def test_seam_ratio_ignores_the_outer_border() -> None:
    source = torch.full((1, 8, 8), 0.5)
    reconstruction = source + 0.1
    reconstruction[:, 0] = reconstruction[:, -1] = 1.0
    reconstruction[:, 3:5] = reconstruction[:, :, 3:5] = 0.5  # the only inner borders
    assert scores(source, reconstruction)["seam_ratio"] == pytest.approx(0, abs=1e-9)


# no inner border; only corners inside, and no error there; nothing inside
@pytest.mark.parametrize("patch_size", [8, 2, 1])
def test_seam_ratio_is_undefined(patch_size: int) -> None:
    source = torch.full((1, 8, 8), 0.5)
    reconstruction = source.clone()
    reconstruction[:, 1:-1, 1:-1] += 0.1
    assert scores(source, reconstruction, patch_size=patch_size)["seam_ratio"] is None


@given(
    st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(1, 45), st.integers(1, 9)
)
def test_scores_do_not_depend_on_the_tiles(
    channels: int, height: int, width: int, tile_side: int, patch_size: int
) -> None:
    pair = noisy_pair(channels, height, width)
    tiled, at_once = (scores(*pair, side, patch_size) for side in (tile_side, 40))
    assert [name for name in tiled if tiled[name] is None] == [
        name for name in at_once if at_once[name] is None
    ]
    known = {name: score for name, score in at_once.items() if score is not None}
    assert {name: tiled[name] for name in known} == pytest.approx(known, rel=1e-6)


class Failing(TileMetric):
    """Fails at the tile that begins at 0."""

    def update(self, preds: Tensor, target: Tensor, tile: Region, sides: tuple[int, ...]) -> None:
        assert tile[0][0] > 0

    def compute(self) -> float:
        return 1.0


def test_what_failed_on_one_rank_is_undefined_on_all() -> None:
    source, rendered = noisy_pair(1, 40, 20)
    regions = list(tiles((40, 20), 20))

    def work(rank: ThreadRank) -> dict[str, float | None]:
        evaluation = Evaluation(PatchGrid((40, 20), 4), 1, {"mine": Failing()})
        for region in items_of_rank(rank, regions):
            box = (slice(None), *slices(extended(region, (40, 20), evaluation.reach)))
            evaluation.add(region, source[box], rendered[box].clamp(0, 1))
        return evaluation.scores(rank)

    one, other = in_threads(2, work)
    assert one == other == {**scores(source, rendered, 20), "mine": None}


def test_tensors_of_two_shapes_are_refused() -> None:
    evaluation = Evaluation(PatchGrid((16, 20), 4), 1)
    with pytest.raises(ValueError, match=r"\(1, 8, 8\) and \(1, 16, 18\): must be one shape"):
        evaluation.add(((0, 8), (0, 8)), torch.zeros(1, 8, 8), torch.zeros(1, 16, 18))


def ssim(source: Image, reconstruction: Image) -> float:
    channels, height, width = source.shape
    total, n_windows = ssim_sum(source, reconstruction)
    assert n_windows == (height - 10) * (width - 10)
    return total / (channels * n_windows)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_ssim_agrees_with_scikit_image(pair: tuple[Image, Image]) -> None:
    source, reconstruction = (one.astype(np.float64) for one in pair)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, similarity = structural_similarity(
        source, reconstruction, data_range=1, channel_axis=0, full=True, **options
    )
    assert ssim(*pair) == pytest.approx(similarity[:, 5:-5, 5:-5].mean(), abs=1e-6)


def test_ssim_agrees_with_torchmetrics() -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    source, reconstruction = (torch.from_numpy(one).double()[None] for one in PAIRS["noise"])
    # in float64: in float32, its variances of flat areas are off by as much as 1e-3
    _, similarity = structural_similarity_index_measure(
        reconstruction, source, sigma=1.5, data_range=1.0, return_full_image=True
    )
    expected = float(similarity[..., 5:-5, 5:-5].mean())
    assert ssim(*PAIRS["noise"]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 10, 50), (3, 50, 10), (1, 1, 1), (1, 20, 20, 20)])
def test_ssim_is_undefined_without_a_full_window(shape: tuple[int, ...]) -> None:
    assert scores(*noisy_pair(*shape), 16)["ssim"] is None
    assert len(shape) > 3 or ssim_sum(noise(*shape), noise(*shape)) == (0, 0)


def test_the_error_of_a_tile_is_without_the_pixels_around_it() -> None:
    source, rendered = noisy_pair(4, 40, 55)
    rendered.clamp_(0, 1)
    evaluation = Evaluation(PatchGrid((40, 55), 4), 4)
    for region in tiles((40, 55), 16):
        box = (slice(None), *slices(extended(region, (40, 55), SSIM_REACH)))
        inside = (slice(None), *slices(region))
        expected = float(squared_error(source[inside], rendered[inside]).sum())
        assert evaluation.add(region, source[box], rendered[box]) == expected
    found = evaluation.scores()
    assert found["psnr_db"] == pytest.approx(psnr_db(source, rendered), rel=1e-12)
