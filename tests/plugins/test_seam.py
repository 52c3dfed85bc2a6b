"""A penalty on seams: what it is worth, and that a run with it is stored and rendered."""

from pathlib import Path

import in_process
import pytest
import torch
from seam import SeamLoss

import miner

HERE = Path(__file__).parent
MINE = f"hydra.searchpath=[file://{HERE}/conf]"


def test_it_counts_jumps_of_the_error_at_the_borders_alone() -> None:
    residual = torch.zeros(1, 1, 5, 6)
    residual[0, 0, 2, 3] = 7.0  # inside
    assert float(SeamLoss(0.5)(residual, torch.zeros(1))) == 0.0
    residual[0, 0, 0, 1:5] = 2.0  # all neighbours above
    residual[0, 0, 0, 0] = 9.0  # a corner has no border with the block
    assert float(SeamLoss(0.5)(residual, torch.zeros(1))) == pytest.approx(0.5 * 2.0**2)


def test_a_volume_has_six_borders() -> None:
    residual = torch.ones(2, 1, 4, 4, 4)
    residual[:, :, 1:-1, 1:-1, 1:-1] = 0.0
    assert SeamLoss(0.5)(residual, torch.zeros(2)).tolist() == pytest.approx([3.0, 3.0])


def test_a_run_with_it_has_weaker_seams(tmp_path: Path) -> None:
    common = (MINE, "fitting.max_steps=60", "image.crop_px=80", "fitting.blocks_per_shard=100")
    plain = in_process.run(tmp_path / "mse", *common, "loss=mse")
    held = in_process.run(tmp_path / "seam", *common, "loss=seam", "loss.weight=0.05")
    assert held["seam_ratio"] < 0.9 * plain["seam_ratio"]
    assert held["psnr_db"] > plain["psnr_db"] - 2.0
    assert miner.load(tmp_path / "seam").render().shape == (1, 80, 80)


def test_errors_are_those_of_pixels_where_blocks_fit_wavelets(tmp_path: Path) -> None:
    report = in_process.run(tmp_path / "run", MINE, "loss=seam", "pyramid=haar")
    assert report["psnr_db"] > 15
