"""A metric with a halo: tiles give what the whole image gives, in any number of processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gradient_error import GradientError
from in_process import run
from PIL import Image
from tiled import CONF, OPTIONS, ROOT, images, tiled

import miner
from miner.images.source import open_image

TALL = (
    *("image.path=tall.png", "patch_size=8", "pyramid.n_levels=2", "fitting.max_steps=3"),
    *(
        "model.width=4",
        "logger=none",
        "callbacks.pictures=null",
        "metrics=[gradient_error,correlation]",
    ),
    *("trainer=ddp", "trainer.accelerator=cpu", "fitting.blocks_per_shard=200"),
)


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 20, 33), (1, 7, 8, 9)])
@pytest.mark.parametrize("side", [3, 8, 40])
def test_tiles_give_what_the_whole_image_gives(shape: tuple[int, ...], side: int) -> None:
    target, preds = images(*shape)
    lengths = []
    for values in (target.double().numpy(), preds.double().numpy()):
        squares = 0
        for axis in range(1, len(shape)):
            others = (slice(None) if n in (0, axis) else slice(-1) for n in range(len(shape)))
            squares = squares + np.diff(values, axis=axis)[tuple(others)] ** 2
        lengths.append(np.sqrt(squares))
    expected = np.sqrt(np.square(lengths[1] - lengths[0]).mean())
    assert tiled(GradientError(), target, preds, side) == pytest.approx(expected, rel=1e-12)


def test_an_image_of_one_row_has_none() -> None:
    assert tiled(GradientError(), *images(1, 1, 30), 8) is None


def test_report_has_it_of_what_is_stored(tmp_path: Path) -> None:
    report = run(tmp_path / "run", OPTIONS, "metrics=gradient_error")
    source = torch.from_numpy(open_image("sample:camera", 2**20, 40).read())
    rendered = torch.from_numpy(miner.load(tmp_path / "run").render())
    expected = tiled(GradientError(), source, rendered, 40)
    assert report["gradient_error"] == pytest.approx(expected, rel=1e-6)
    assert report["higher_is_better"] == {"gradient_error": False}


@pytest.mark.slow
def test_two_processes_come_to_the_score_of_one(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2100, 24, 3), np.uint8)  # three tiles
    Image.fromarray(noise).save(tmp_path / "tall.png")
    paths = os.pathsep.join((str(ROOT), str(Path(__file__).parent)))
    found = []
    for devices in (1, 2):
        own = (f"trainer.devices={devices}", f"hydra.run.dir=of{devices}")
        command = [sys.executable, "-m", "miner.run", f"--config-dir={CONF}", *TALL, *own]
        environment = os.environ | {"PYTHONPATH": paths}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads((tmp_path / f"of{devices}" / "report.json").read_text()))
    assert [report["world_size"] for report in found] == [1, 2]
    assert found[0]["psnr_db"] == found[1]["psnr_db"]
    for name in ("gradient_error", "correlation"):
        assert found[1][name] == pytest.approx(found[0][name], rel=1e-5)
