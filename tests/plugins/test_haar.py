"""A wavelet pyramid: transformed, fitted, stored, loaded elsewhere and rendered in parts."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from block_problems import noise, smooth
from haar import HaarPyramid
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

import miner
from miner.support.errors import ConfigError

HERE = Path(__file__).parent
SIDES = st.lists(st.integers(1, 9), min_size=2, max_size=3).map(tuple)
HAAR = HaarPyramid()
TINY = (
    *("patch_size=8", "pyramid.n_levels=2", "fitting.max_steps=3", "model.width=4"),
    *("logger=none", "trainer=cpu", "++callbacks.pictures=null"),
)
RENDER = """
import json, sys
import haar, miner, numpy as np

shown = miner.load("run")
rows, columns = shown.spec.sides
boxes = [
    [((y, min(y + 7, rows)), (x, min(x + 5, columns))) for x in range(0, columns, 5)]
    for y in range(0, rows, 7)
]
parts = np.block([[shown.render(0, box) for box in line] for line in boxes])
whole = shown.render()
image = np.load("picture.npy")
print(json.dumps({
    "pyramid": repr(shown.spec.pyramid),
    "difference": float(abs(parts - whole).max()),
    "psnr_db": float(-10 * np.log10(np.square(whole - image, dtype=float).mean())),
    "blocks": [len(shown.active_blocks(level)) for level in range(2)],
}))
"""


def settings(**changes: Any) -> dict[str, Any]:
    """Of fits that end when the bound is met."""
    return {
        "pyramid": {"_target_": "haar.HaarPyramid", "n_levels": 2},
        "image.range": "dtype",
        "patch_size": 8,
        "storage": "float32",
        "capacity": "uniform",
        "pruning": "absolute_mse",
        "model": {"width": 12},
        "fitting": {"max_steps": 400, "max_mse": 1e-5},
        "level_selection.coarse_ratio": 1,
        **changes,
    }


def python(folder: Path, *arguments: str) -> str:
    """What another process says, which finds the pyramid's module."""
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@given(SIDES)
def test_merge_inverts_target(sides: tuple[int, ...]) -> None:
    signal, prediction = noise(2, 3, *sides), noise(2, 3, *sides, seed=1)
    merged = HAAR.merge(prediction, HAAR.target(signal, prediction))
    torch.testing.assert_close(merged, signal, rtol=0, atol=1e-6)


@given(SIDES)
def test_a_sample_of_coefficients_stands_for_two_pixels_along_each_axis(
    sides: tuple[int, ...],
) -> None:
    target = HAAR.target(noise(2, 3, *sides), torch.zeros(2, 3, *sides))
    assert target.shape == (2, 3 * HAAR.bands(len(sides)), *(-(-side // 2) for side in sides))


@given(SIDES)
def test_errors_of_pixels_are_at_most_those_of_coefficients(sides: tuple[int, ...]) -> None:
    signal, prediction = noise(1, 2, *sides), noise(1, 2, *sides, seed=1)
    target = HAAR.target(signal, prediction)
    output = target + noise(*target.shape, seed=2) - 0.5
    pixels = (HAAR.merge(prediction, output) - signal).square().sum()
    coefficients = (output - target).square().sum()
    assert pixels <= coefficients * 1.00001
    if all(side % 2 == 0 for side in sides):
        assert target.numel() == signal.numel()
        torch.testing.assert_close(pixels, coefficients)


@pytest.mark.parametrize("backend", ["compiled", "eager"])
@pytest.mark.parametrize("sides", [(17, 30), (9, 10, 17)], ids=str)
def test_every_block_meets_the_bound_in_pixels(sides: tuple[int, ...], backend: str) -> None:
    signal, axes = smooth(*sides), "CHW" if len(sides) == 2 else "CDHW"
    fitted = miner.fit(signal.numpy(), axes=axes, **settings(backend=backend))
    error = (fitted.reconstruct() - signal).square()
    found = fitted.spec.grid(0).block_means(error)
    assert len(fitted.active_blocks(0)) > 0
    assert float(found.max()) <= 1e-5
    assert float(found.max()) > 1e-8  # or a bound that is not kept would not be seen


def test_a_volume_is_stored_loaded_and_rendered_in_parts(tmp_path: Path) -> None:
    fitted = miner.fit(
        noise(2, 11, 9, 14).numpy(), axes="CDHW", **settings(fitting={"max_steps": 3})
    )
    loaded = miner.load(fitted.save(tmp_path))
    assert loaded.spec.pyramid == HaarPyramid(2)
    whole = fitted.reconstruct()
    assert torch.equal(loaded.reconstruct(), whole)
    part = loaded.reconstruct(0, ((3, 11), (0, 5), (7, 8)))
    torch.testing.assert_close(part, whole[:, 3:11, :5, 7:8], rtol=0, atol=1e-6)
    numbers = [dict(model.shapes()) for model in map(loaded.spec.model, range(2))]
    assert all(shapes["readout.bias"] == (2 * 2**3,) for shapes in numbers)


@pytest.mark.slow  # test_networks.py does so with another class
def test_a_run_of_the_command_is_rendered_in_another_process(tmp_path: Path) -> None:
    pixels = (255 * smooth(21, 27).clamp(0, 1)[[0, 1, 0]]).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    np.save(tmp_path / "picture.npy", pixels.transpose(2, 0, 1) / np.float32(255))
    options = [f"--config-dir={HERE / 'conf'}", "pyramid=haar", *TINY]
    files = ["image.path=picture.png", "hydra.run.dir=run"]
    python(tmp_path, "-m", "miner.run", *options, *files)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    found = json.loads(python(tmp_path, "-c", RENDER))
    assert found["pyramid"] == "HaarPyramid(n_levels=2)"
    assert found["difference"] <= 1e-6
    assert found["psnr_db"] == pytest.approx(report["psnr_db"], abs=1e-3)
    assert found["blocks"] == [level["n_active"] for level in reversed(report["levels"])]


@dataclass(frozen=True)
class Disagreeing(HaarPyramid):
    """Promises other coefficients than it makes."""

    def bands(self, n_axes: int) -> int:
        return 1


def test_bands_that_the_target_does_not_have_are_refused() -> None:
    pyramid = {"_target_": f"{__name__}.Disagreeing", "n_levels": 1}
    expected = r"Disagreeing\(n_levels=1\): targets of shape \(2, 8, 4, 4\) do not agree"
    with pytest.raises(ConfigError, match=expected):
        miner.fit(noise(2, 8, 8).numpy(), **settings(pyramid=pyramid))


@dataclass(frozen=True)
class Broadcasting(HaarPyramid):
    """Gives one number for all pixels of a block."""

    def merge(self, prediction: Tensor, output: Tensor) -> Tensor:
        return super().merge(prediction, output).mean(dim=(-2, -1), keepdim=True)


def test_a_merge_that_would_be_broadcast_is_refused() -> None:
    pyramid = {"_target_": f"{__name__}.Broadcasting", "n_levels": 1}
    expected = r"Broadcasting\(n_levels=1\): merge.* must be s, .* its shape is \(2, 1, 1, 1\)$"
    with pytest.raises(ConfigError, match=expected):
        miner.fit(noise(1, 8, 8).numpy(), **settings(pyramid=pyramid))
