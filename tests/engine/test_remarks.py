"""The last lines of a run: blocks that miss the bound, and files that are too large."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from in_process import run

import miner
from miner.images.source import open_image
from miner.signals.regions import whole
from miner.signals.scratch import Scratch

STOP = (  # after the coarser level
    "+callbacks.stop={_target_:pytorch_lightning.callbacks.EarlyStopping,monitor:level/psnr_db,"
    "mode:max,stopping_threshold:1}"
)


def said(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


def errors_over_bound(folder: Path, max_mse: float) -> int:
    """Blocks of the finest level whose stored error is above the bound by more than 0.3 dB."""
    representation = miner.load(folder)
    image = open_image("sample:camera", 10**6, 40, Scratch(None))
    target = torch.from_numpy(np.asarray(image.read(whole(image.sides))))
    error = (target - representation.reconstruct().clamp(0, 1)).square()
    means = representation.spec.grid(0).block_means(error)
    return int((10 * torch.log10(means / max_mse) > 0.3).sum())


@pytest.mark.parametrize("in_memory_mib", [256, 0])
def test_blocks_that_miss_the_bound_are_counted_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, in_memory_mib: int
) -> None:
    caplog.set_level("INFO", "miner")
    given = ("fitting.max_mse=2e-5", f"fitting.in_memory_mib={in_memory_mib}", "model.width=8")
    report = run(tmp_path, *given, "fitting.max_steps=10")
    n_missed = errors_over_bound(tmp_path, 2e-5)
    assert report["levels"][-1]["n_missed"] == n_missed
    assert 0 < n_missed < 16
    (line,) = said(caplog, "miss the bound")
    start = "blocks miss the bound of 47.0 dB (fitting.target_psnr or max_mse)"
    assert line.startswith(f"{n_missed} of 16 {start}")
    assert line.endswith("capacity=target_error or a greater model.width brings more of them there")


@pytest.mark.parametrize(
    ("setting", "is_said"),
    [
        ("capacity=target_error", "more capacity.max_refits or a greater capacity.max_width"),
        ("capacity=budget", ""),  # whose aim is another
        ("fitting.max_mse=0.9", ""),
        (STOP, ""),
    ],
)
def test_the_remedy_is_that_of_the_capacity(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, setting: str, is_said: str
) -> None:
    caplog.set_level("INFO", "miner")
    run(tmp_path, "fitting.max_mse=1e-6", setting)
    lines = said(caplog, "miss the bound")
    assert len(lines) == (1 if is_said else 0)
    assert all(is_said in line for line in lines)


@pytest.mark.parametrize(
    ("settings", "is_large"),
    [
        (["image.crop_px=40"], True),  # a manifest alone is larger
        (["image.crop_px=128", "patch_size=64"], False),
        (["image.crop_px=40", "callbacks=[report]"], False),  # there is no file
    ],
)
def test_files_larger_than_the_raw_pixels_are_remarked_upon(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, settings: list[str], is_large: bool
) -> None:
    caplog.set_level("INFO", "miner")
    report: dict[str, Any] = run(tmp_path, *settings)
    lines = said(caplog, "larger than the raw pixels")
    assert len(lines) == is_large
    if is_large:
        start = f"the representation, {report['file_bytes']:,} bytes, is larger than the raw pixels"
        assert lines[0].startswith(f"{start}, 1,600; ")
        assert "storage=int8" in lines[0]
