"""Scores over the pixels that are data, against slow walks over them."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from miner.metrics.base import TileMetric
from miner.metrics.scores import SSIM_REACH, Evaluation
from miner.signals.grid import PatchGrid
from miner.signals.mask import Mask
from miner.signals.regions import Region, extended, slices, tiles, whole

PATCH = 5


class Worst(TileMetric):
    """The greatest error."""

    halo = 2

    def __init__(self) -> None:
        super().__init__()
        self.worst = 0.0

    def update(self, preds: Tensor, target: Tensor, tile: Region, sides: tuple[int, ...]) -> None:
        self.worst = max(self.worst, float((preds - target).abs().max()))

    def compute(self) -> float:
        return self.worst


def images(*shape: int) -> tuple[Tensor, Tensor, np.ndarray]:
    """A target, what is rendered, and which pixels are data; others have any values."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(shape, generator=generator)
    preds = (target + 0.1 * torch.randn(shape, generator=generator)).clamp(0, 1)
    valid = np.random.default_rng(0).random(shape[1:]) > 0.01
    valid[..., 20:] = False
    target[:, ~valid], preds[:, ~valid] = -7.0, 0.9
    return target, preds, valid


def scores(target: Tensor, preds: Tensor, valid: np.ndarray, tile_side: int) -> dict[str, Any]:
    sides = valid.shape
    mask = Mask.of_parts(sides, [(whole(sides), valid)])
    metrics = {"worst": Worst()}
    evaluation = Evaluation(PatchGrid(sides, PATCH), len(target), metrics, mask)
    for tile in tiles(sides, tile_side):
        box = (slice(None), *slices(extended(tile, sides, SSIM_REACH)))
        evaluation.add(tile, target[box], preds[box])
    return evaluation.scores()


@pytest.mark.parametrize("tile_side", [13, 64])
@pytest.mark.parametrize("shape", [(3, 40, 33), (1, 7, 9, 22)])
def test_only_pixels_with_data_count(shape: tuple[int, ...], tile_side: int) -> None:
    target, preds, valid = images(*shape)
    found = scores(target, preds, valid, tile_side)
    error, seam, inner = (target - preds).double().square().mean(0), [], []
    for index in zip(*np.nonzero(valid), strict=True):
        is_seam = any(
            (n % PATCH == 0 and n > 0) or (n % PATCH == PATCH - 1 and n < side - 1)
            for n, side in zip(index, valid.shape, strict=True)
        )
        (seam if is_seam else inner).append(float(error[index]))
    expected = -10 * math.log10(np.mean(seam + inner))
    assert found["psnr_db"] == pytest.approx(expected, abs=1e-5)
    assert found["seam_ratio"] == pytest.approx(np.mean(seam) / np.mean(inner), rel=1e-5)
    worst = float((target - preds).abs()[:, torch.from_numpy(valid)].max())
    assert found["worst"] == pytest.approx(worst, rel=1e-6)


@pytest.mark.parametrize("tile_side", [13, 64])
def test_windows_with_a_masked_pixel_do_not_count(tile_side: int) -> None:
    target, preds, valid = images(3, 40, 33)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, similarity = structural_similarity(
        *(one.double().numpy() for one in (target, preds)),
        data_range=1,
        channel_axis=0,
        full=True,
        **options,
    )
    counted = [
        similarity[:, row, column]
        for row in range(5, 35)
        for column in range(5, 28)
        if valid[row - 5 : row + 6, column - 5 : column + 6].all()
    ]
    assert 10 < len(counted) < 400
    found = scores(target, preds, valid, tile_side)["ssim"]
    assert found == pytest.approx(np.mean(counted), abs=1e-5)


def test_ssim_is_undefined_where_every_window_is_masked() -> None:
    target, preds, valid = images(1, 40, 33)
    valid[::9] = False
    assert scores(target, preds, valid, 64)["ssim"] is None


def test_a_mask_of_all_pixels_changes_no_bit() -> None:
    target, preds, valid = images(3, 40, 33)
    target.clamp_(0, 1)
    everything = np.ones_like(valid)
    evaluation = Evaluation(PatchGrid(valid.shape, PATCH), 3)
    evaluation.add(whole(valid.shape), target, preds)
    plain = evaluation.scores()
    masked = scores(target, preds, everything, 64)
    assert {name: masked[name] for name in plain} == plain
