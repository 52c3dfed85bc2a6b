"""The GPU benchmark where there is no GPU: what it writes and says, and a rehearsal."""

import shutil
import subprocess
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from gpu import bench
from gpu.checks import MAX_DIFFERENCE_DB
from gpu.fits import FITS, fit_image
from gpu.steps import median_ms
from hydra import compose, initialize_config_dir
from rows import read_rows

from miner.config.build import CONF_FOLDER
from miner.config.schema import check_config
from miner.kernels.backend import CompiledBackend

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="other tests need its programs")


def test_every_recipe_is_valid() -> None:
    with initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
        for _, recipe in chain.from_iterable(FITS.values()):
            check_config(compose("config", [*recipe.split(), *bench.Plan().common, "logger=none"]))


def test_a_refused_fit_says_why(images: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="patch_size"):
        fit_image(images / "Road.jpg", ["patch_size=0", "trainer=cpu"], tmp_path / "run", 60.0)
    with pytest.raises(subprocess.TimeoutExpired):
        fit_image(images / "Road.jpg", ["trainer=cpu"], tmp_path / "run", 0.01)


@no_gpu
def test_parts_leave_rows(images: Path, tmp_path: Path) -> None:
    parts = [f"--part={name}" for name in ("checks", "steps")]
    arguments = [str(images), "--rehearse", *parts, f"--out={tmp_path}", "--commit=abc"]
    assert bench.main(arguments, CompiledBackend()) == 0  # the interpreter takes longer
    checks = read_rows(tmp_path / "gpu_checks.tsv")
    assert [row["readout"] for row in checks] == ["closed_form", "sigmoid", "scaled_sine"]
    assert {row["commit"] for row in checks} == {"abc"}
    command = "python scripts/gpu/bench.py IMAGES --part checks --part steps"
    assert {row["command"] for row in checks} == {command}
    assert max(float(row["difference_db"]) for row in checks) < MAX_DIFFERENCE_DB
    assert len(read_rows(tmp_path / "gpu_ceilings.tsv")) == 3
    assert float(read_rows(tmp_path / "gpu_steps.tsv")[0]["times_floor"]) > 0


def test_a_gpu_is_timed_by_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    elapsed = iter([7.0, 1.0, 3.0])
    actions: list[str] = []
    event = SimpleNamespace(record=lambda: None, elapsed_time=lambda other: next(elapsed))
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    cuda = torch.device("cuda")
    assert median_ms(cuda, lambda: actions.append("act"), repeats=3) == 3.0
    assert len(actions) == 2 + 3


def test_rows_name_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    row = bench.origin("a command", "abc", torch.device("cuda"))
    assert str(row["hardware"]).startswith("Some GPU, driver unknown, torch ")
    assert (row["command"], row["commit"]) == ("a command", "abc")


@no_gpu
def test_what_is_left_out_is_named(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main([str(images), "--rehearse", "--minutes=0"]) == 0
    assert capsys.readouterr().out.count("left out: ") == 3 + 2 + 4


@no_gpu
@pytest.mark.slow
def test_everything_is_rehearsed_on_a_cpu(images: Path, tmp_path: Path) -> None:
    assert bench.main([str(images), "--rehearse", f"--out={tmp_path}"]) == 0
    assert len(read_rows(tmp_path / "gpu_fits.tsv")) == 4


def test_without_a_gpu_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        bench.main([str(images)])
    assert ended.value.code == 1
    assert "--rehearse" in capsys.readouterr().err
