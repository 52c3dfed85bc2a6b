"""A volume is fitted, scored and written by a run, if it is said to be one."""

import logging
from pathlib import Path

import numpy as np
import pytest
from in_process import run

import miner
from miner.evaluate import evaluate
from miner.support.errors import ImageError


def test_a_volume_is_fitted_where_axes_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "miner")
    values = np.random.default_rng(0).integers(0, 256, (6, 9, 7, 2), dtype=np.uint8)
    np.save(tmp_path / "a.npy", values)
    path = f"image.path={tmp_path / 'a.npy'}"
    more = "callbacks=[default]", "callbacks.progress=null", "image.crop_px=null"
    with pytest.raises(ImageError, match="can be read as"):
        run(tmp_path / "refused", path)
    report = run(tmp_path / "run", path, "image.axes=DHWC", *more)
    assert "a: 7x9x6, 2 channels, uint8, range 0-255 on cpu" in caplog.text
    representation = miner.load(tmp_path / "run")
    assert representation.render().shape == (2, 6, 9, 7)
    assert report["parameters_per_pixel"] == representation.n_parameters / (6 * 9 * 7)
    assert evaluate(tmp_path / "run")["psnr_db"] == pytest.approx(report["psnr_db"], rel=1e-5)
    written = np.load(tmp_path / "run" / "reconstruction.npy")
    assert (written.shape, written.dtype) == (values.shape, values.dtype)
    mse = np.mean((written / 255.0 - values / 255.0) ** 2)
    assert -10 * np.log10(mse) == pytest.approx(report["psnr_db"], abs=0.05)
    assert not (tmp_path / "run" / "blocks.png").exists()
