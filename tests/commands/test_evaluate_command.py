"""`python -m miner.evaluate`: what is stored is scored against an image."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from in_process import run

import miner
from miner.evaluate import main


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate") / "run"
    run(folder)
    return folder


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, str]:
    assert main([str(argument) for argument in arguments]) == 0
    return dict(line.split() for line in capsys.readouterr().out.splitlines())


def test_the_scores_are_those_of_the_report(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads((finished / "report.json").read_text())
    for arguments in ([finished], [finished / "representation"], [finished, "sample:camera"]):
        scores = printed(capsys, *arguments)
        for name in ("psnr_db", "ssim", "seam_ratio"):
            assert float(scores[name]) == pytest.approx(report[name], rel=1e-5)
    in_python = miner.load(finished).score("sample:camera")  # of which the run took a part
    assert in_python["psnr_db"] == pytest.approx(report["psnr_db"], rel=1e-5)


@pytest.mark.slow  # test_representation_files.py renders in another process
def test_a_fresh_process_comes_to_the_scores_of_the_fit(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    command = [sys.executable, "-m", "miner.evaluate", str(finished)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    scores = dict(line.split() for line in found.splitlines())
    for name in ("psnr_db", "ssim", "seam_ratio"):
        assert float(scores[name]) == pytest.approx(report[name], rel=1e-5)


def test_what_was_stopped_is_scored_and_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "run", "trainer.max_time={seconds:0.000001}")
    assert main([str(tmp_path / "run")]) == 0
    assert "status         stopped; go on with" in capsys.readouterr().out


def test_another_image_has_other_scores(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rendered = miner.load(finished).render()
    np.save(tmp_path / "rendered.npy", rendered[0])
    assert float(printed(capsys, finished, tmp_path / "rendered.npy")["psnr_db"]) > 100


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["{run}", "sample:astronaut"], "3 channels of .*, and .* 1 of "),
        (["{run}", "nothing.png"], "nothing.png"),
        (["nothing"], "nothing.*no representation"),
        (["{run}/report.json"], "no representation of blocks here; give the folder of a run of"),
        (["{run}", "{run}"], "is a folder: give the path of one image file"),
    ],
)
def test_refusals_take_a_line(
    finished: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert main([argument.format(run=finished) for argument in arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert re.search(reason, line)


def test_a_fit_that_names_no_image_needs_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"patch_size": 8, "fitting": {"max_steps": 1}, "backend": "eager"}
    image = np.random.default_rng(0).random((12, 12), dtype=np.float32)
    miner.fit(image, **settings).save(tmp_path / "fit")
    assert main([str(tmp_path / "fit")]) == 1
    assert "does not say which image" in capsys.readouterr().err
    np.save(tmp_path / "image.npy", image)
    assert float(printed(capsys, tmp_path / "fit", tmp_path / "image.npy")["psnr_db"]) > 0
