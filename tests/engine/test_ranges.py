"""The bound and the scores of a run are those of the data's range, and say so."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import compose, run

import miner
from miner.cli.checks import check_unchanged
from miner.config.fingerprint import job_hash
from miner.evaluate import evaluate
from miner.support.errors import ConfigError


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    x, y = np.meshgrid(np.linspace(0, 3, 40), np.linspace(0, 4, 30))
    return np.rint(1040 + 1000 * np.sin(x * y)).astype(np.uint16)  # of 12 bits, in 16


@pytest.fixture(scope="module")
def finished(values: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranges")
    np.save(folder / "a.npy", values)
    run(folder / "run", f"image.path={folder / 'a.npy'}", "callbacks=default")
    return folder


def test_scores_are_over_the_range_of_the_data_and_of_the_type(
    finished: Path, values: np.ndarray
) -> None:
    report: dict[str, Any] = json.loads((finished / "run" / "report.json").read_text())
    assert report["data_range"] == [values.min(), values.max()] == [40, 2040]
    written = np.rint(65535 * miner.load(finished / "run").render()[0])
    mse = np.mean((written - values) ** 2)
    for name, peak in [("psnr_db", 2000), ("psnr_dtype_db", 65535)]:
        assert 10 * np.log10(peak**2 / mse) == pytest.approx(report[name], abs=0.01)
    scores = evaluate(finished / "run")
    assert scores["psnr_dtype_db"] == pytest.approx(report["psnr_dtype_db"], abs=1e-3)


def test_another_image_is_scored_in_the_range_of_the_run(
    finished: Path, values: np.ndarray
) -> None:
    before = evaluate(finished / "run")["psnr_db"]
    other = values.copy()
    other[0, 0] = 60000  # would change a range of its own
    np.save(finished / "other.npy", other)
    assert evaluate(finished / "run", str(finished / "other.npy"))["psnr_db"] < before
    one_off = values + np.uint16(2)  # hides in a range of its own
    np.save(finished / "other.npy", one_off)
    assert evaluate(finished / "run", str(finished / "other.npy"))["psnr_db"] != before


def test_a_run_with_another_range_or_axes_is_another_run(finished: Path) -> None:
    path = f"image.path={finished / 'a.npy'}"
    check_unchanged(finished / "run", compose(finished, path), "cpu")
    hashes = {job_hash(compose(finished, path))}
    for change, line in [
        ("image.range=dtype", "image.range: auto, now dtype"),
        ("image.range=[0,4095]", "image.range: auto, now"),
        ("image.axes=WH", "image.axes: None, now WH"),
    ]:
        with pytest.raises(ConfigError, match="holds a run with other settings") as caught:
            check_unchanged(finished / "run", compose(finished, path, change), "cpu")
        assert line in str(caught.value).replace("not set", "None")
        hashes.add(job_hash(compose(finished, path, change)))
    assert len(hashes) == 4


def test_a_fit_of_integers_has_their_range(values: np.ndarray) -> None:
    settings: dict[str, Any] = {"patch_size": 10, "fitting": {"max_steps": 2}}
    assert miner.fit(values, **settings).spec.pixel_format.data_range == (40, 2040)
    fitted = miner.fit(values, image={"range": [0, 4095]}, **settings)
    assert fitted.spec.pixel_format.data_range == (0, 4095)
    for wrong in ([5, 5], [1], "all", [0, 1, 2]):
        with pytest.raises(ConfigError, match="must be auto, dtype, or "):
            miner.fit(values, image={"range": wrong}, **settings)


def test_scores_of_an_array_and_of_the_report_are_of_the_same_range(tmp_path: Path) -> None:
    x, y = np.meshgrid(np.linspace(0, 3, 40), np.linspace(0, 4, 30))
    array = np.rint(127 + 127 * np.sin(x * y)).astype(np.uint8)
    settings: dict[str, Any] = {"patch_size": 10, "fitting": {"max_steps": 50}}
    for given in (array, array.astype(np.int16)):
        fitted = miner.fit(given, image={"range": [0, 128]}, **settings)
        loaded = miner.load(fitted.save(tmp_path / str(given.dtype)))
        for one in (fitted, loaded):
            assert one.score(given)["psnr_db"] == pytest.approx(fitted.psnr_db, abs=1e-3)


def test_signed_integers_are_scored_over_their_type_too(values: np.ndarray) -> None:
    settings: dict[str, Any] = {"patch_size": 10, "fitting": {"max_steps": 2}}
    fitted = miner.fit(values.astype(np.int16), **settings)
    assert fitted.report is not None and fitted.psnr_db is not None
    gain = 20 * np.log10(65535 / 2000)
    assert fitted.report["psnr_dtype_db"] == pytest.approx(fitted.psnr_db + gain)
    fitted = miner.fit(values.astype(np.int32), image={"range": "dtype"}, **settings)
    assert fitted.spec.pixel_format.data_range == (-(2**31), 2**31 - 1)
