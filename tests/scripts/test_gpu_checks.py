"""What the GPU benchmark counts, and what it finds wrong with a backend."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from block_problems import noise
from gpu import bench, blocks, checks, steps
from gpu.blocks import Case
from torch import Tensor

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.steps import BlockProblem, BlockTrainer
from miner.kernels.backend import CompiledBackend

SMALL = Case("closed_form", width=3, patch_size=8)


@pytest.fixture
def problem(images: Path) -> BlockProblem:
    return blocks.blocks_of(SMALL, [images / "Road.jpg"], 30, blocks.settings_of(10))


@pytest.mark.parametrize(("readout", "multiply_adds"), [("closed_form", 85), ("sigmoid", 82)])
def test_operations_are_those_counted_by_hand(readout: str, multiply_adds: int) -> None:
    # 16 inputs, 2 layers of 2 features: 32 + 4 forward, 2 outputs, 32 + 4 + 4 + 2 backward; 3
    # different entries of the Gram matrix and 2 of its right side, or 2 of a gradient
    case = Case(readout, width=2, patch_size=2)
    problem = blocks.problem_of(case, torch.zeros(1, 1, 4), blocks.settings_of(1))
    n_operations = steps.operations(problem._replace(encoded=torch.zeros(16, 4)))
    assert n_operations == 2 * 4 * multiply_adds


def test_bytes_are_those_counted_by_hand(problem: BlockProblem) -> None:
    n_trained = (16 * 3 + 3) + (3 * 3 + 3)
    moved = 30 * 64 + 16 * 64 + 30 * 6 * n_trained
    assert steps.bytes_per_launch(problem) == 4 * moved


def test_flat_patches_are_not_among_the_blocks(tmp_path: Path) -> None:
    pixels = np.full((16, 24), 100, np.uint8)
    pixels[3, 12] = 200
    cv2.imwrite(str(tmp_path / "dot.png"), pixels)
    (patch,) = blocks.active_patches(SMALL._replace(readout="sigmoid"), tmp_path / "dot.png")
    expected = torch.from_numpy(pixels[:8, 8:16].reshape(1, -1)) / 255
    torch.testing.assert_close(patch, expected)


def test_all_images_are_among_the_blocks(images: Path) -> None:
    names = [images / name for name in bench.CHECKED]
    targets = blocks.blocks_of(SMALL, names, 7, blocks.settings_of(1)).targets
    first, second = (blocks.active_patches(SMALL, name) for name in names)
    assert torch.equal(targets[:2], torch.stack([first[0], second[0]]))
    assert first.mean().abs() < 1e-3  # residuals
    assert first.min() < -0.01


def test_images_without_blocks_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "flat.png"), np.full((16, 16), 9, np.uint8))
    with pytest.raises(ValueError, match="no patch of 8 pixels that needs a network"):
        blocks.active_patches(SMALL, tmp_path / "flat.png")
    with pytest.raises(ValueError, match="give the folder"):
        blocks.active_patches(SMALL, tmp_path / "none.png")


@dataclass(frozen=True)
class Wrong(EagerBackend):
    """Plain PyTorch with other targets or another rate, but not in float64."""

    change: Callable[[Tensor], Tensor]
    rate: float = 1.0

    def prepare(self, problem: BlockProblem) -> Backend:
        return self

    def trainer(self, problem: BlockProblem) -> BlockTrainer:
        if problem.targets.dtype == torch.float32:
            settings = replace(problem.steps, rate=self.rate)
            problem = problem._replace(targets=self.change(problem.targets), steps=settings)
        return super().trainer(problem)


def test_blocks_that_drift_apart_by_chance_are_allowed_to(problem: BlockProblem) -> None:
    truth = blocks.fit(EagerBackend(), problem)
    signs = torch.tensor([1.0, -1.0]).repeat(15)
    drifted = replace(truth, mse=truth.mse * 10 ** (0.1 * signs))  # by a decibel
    assert checks.standard_error_db(drifted, truth) == pytest.approx(1 / 29**0.5, rel=1e-4)
    shifted = replace(truth, mse=2 * truth.mse)
    assert checks.standard_error_db(shifted, truth) < 1e-6


def test_a_few_broken_blocks_are_not_chance(problem: BlockProblem) -> None:
    """10 of 1024, whose mean alone would pass."""
    truth = replace(blocks.fit(EagerBackend(), problem), mse=1e-4 + noise(1024))
    drifted = replace(truth, mse=truth.mse * 10 ** (0.2 * noise(1024, seed=1) - 0.1))
    broken = replace(drifted, mse=drifted.mse * (1 + 9 * (torch.arange(1024) < 10)))
    assert checks.share_of_large_losses(drifted, truth, drifted) == 0
    assert checks.share_of_large_losses(broken, truth, drifted) > checks.MAX_SHARE


def test_plain_pytorch_passes_all_checks(problem: BlockProblem) -> None:
    numbers, wrong = checks.checked(EagerBackend(), problem)
    assert numbers["difference_db"] < checks.MAX_DIFFERENCE_DB
    assert wrong in ([], ["blocks fitted alone have other bits"])  # batched products may round so


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        (Wrong(lambda targets: 0.5 * targets), "dB from float64"),
        (Wrong(lambda targets: torch.cat([9 * targets[:1], targets[1:]])), "blocks lose"),
        (Wrong(lambda targets: targets, rate=1.1), "off after"),
        (Wrong(lambda targets: targets * (1 + 1e-4 * len(targets))), "fitted alone"),
        (Wrong(lambda targets: targets + 0 * torch.empty(4096).mean()), "nothing wrote"),
    ],
    ids=["targets", "one block", "rate", "batch", "unwritten memory"],
)
def test_errors_are_found(problem: BlockProblem, backend: Wrong, said: str) -> None:
    _, wrong = checks.checked(backend, problem)
    assert any(said in each for each in wrong), wrong


@pytest.mark.skipif(torch.cuda.is_available(), reason="other tests need its programs")
def test_an_error_ends_the_benchmark_with_1_after_all_rows(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(images), "--rehearse", "--part=checks"]
    assert bench.main(arguments, Wrong(lambda targets: 0.5 * targets)) == 1
    printed = capsys.readouterr().out
    assert printed.count("\nchecks: readout=") == 3
    assert "FAILED: check of closed_form, width 4, patch 8, channels 1: RuntimeError: " in printed


def test_steps_are_timed_against_the_larger_floor(problem: BlockProblem) -> None:
    slow_sums = steps.Ceilings(copy=1e12, float32=1e6, tf32=1e6)
    row = steps.timed(EagerBackend(), problem, n_steps=2, repeats=1, ceilings=slow_sums)
    assert row["arithmetic_floor_ms"] == pytest.approx(30 * steps.operations(problem) / 1e3)
    assert row["times_floor"] == pytest.approx(row["step_ms"] / row["arithmetic_floor_ms"])


def test_a_backend_that_leaves_the_work_to_another_is_a_failure(problem: BlockProblem) -> None:
    draws = problem._replace(steps=replace(problem.steps, batch_pixels=3))
    with pytest.raises(RuntimeError, match="CompiledBackend leaves this to EagerBackend"):
        blocks.prepared(CompiledBackend(), draws)
