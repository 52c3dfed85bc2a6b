"""A loss of a block's residual, which the compiled steps leave to plain PyTorch."""

from pathlib import Path

import in_process
import pytest
import torch
from block_problems import problem
from charbonnier import CharbonnierLoss

import miner
from miner.fitting.criteria import MSELoss

HERE = Path(__file__).parent
MINE = f"hydra.searchpath=[file://{HERE}/conf]"


def test_it_is_square_near_zero_and_absolute_far_off() -> None:
    residual = torch.tensor([[[1e-3, -1e-3]], [[3.0, -5.0]]], dtype=torch.float64)
    near, far = CharbonnierLoss(0.1)(residual, residual.square().mean(dim=(1, 2))).tolist()
    assert near == pytest.approx(1e-6 / 0.2, rel=1e-3)
    assert far == pytest.approx(4.0 - 0.1, abs=2e-3)


def test_an_outlier_moves_the_fit_less_than_with_the_square() -> None:
    """A trained readout, and one pixel of each block that no network of this size reaches."""
    given = problem("sigmoid", n_blocks=4).with_steps(n_steps=150)
    spoiled = given._replace(targets=given.targets.clone())
    spoiled.targets[:, 0, 0] += 5.0
    errors = []
    for loss in (CharbonnierLoss(0.01), MSELoss()):
        best = spoiled.with_steps(loss=loss).fit().parameters
        residual = given.network.outputs(best, given.encoded) - given.targets
        errors.append(float(residual.square().mean()))
    assert errors[0] < 0.7 * errors[1]


def test_a_run_with_it_falls_back_and_is_rendered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    common = (MINE, "readout=learned", "fitting.max_steps=20", "backend=compiled")
    in_process.run(tmp_path / "run", *common, "loss=charbonnier")
    assert "backend=compiled: loss CharbonnierLoss is not compiled; plain PyTorch" in caplog.text
    in_process.run(tmp_path / "square", *common, "loss=mse", "backend=eager")
    rendered, other = (miner.load(tmp_path / name).render() for name in ("run", "square"))
    assert rendered.shape == other.shape == (1, 40, 40)
    assert (rendered != other).any()
