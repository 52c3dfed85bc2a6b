"""The GPU benchmark where there is no GPU: what it writes and says, and a rehearsal."""

import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest
import torch
from gpu import bench
from gpu.checks import MAX_DIFFERENCE_DB
from gpu.fits import Goal, Job, run_job
from gpu.journal import Journal
from gpu.plans import FULL
from gpu.steps import median_ms, note_resources
from hydra import compose, initialize_config_dir
from rows import read_rows

from miner.config.build import CONF_FOLDER
from miner.config.schema import check_config
from miner.kernels.backend import CompiledBackend

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="other tests need its programs")


def test_rows_of_compiled_programs_are_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SimpleNamespace(fn=SimpleNamespace(arg_names=["x", "TILE"]), constants={(1,): 64})
    sizes = SimpleNamespace(num_warps=4, shared=1024)
    compiled = SimpleNamespace(src=source, metadata=sizes, n_regs=255, n_spills=0)
    program = SimpleNamespace(device_caches={0: ({"key": compiled}, "...")})
    module = cast(ModuleType, SimpleNamespace(train_blocks=program, unlaunched=1))
    monkeypatch.setitem(sys.modules, "programs", module)
    note_resources(Journal(tmp_path, {"commit": "abc"}, minutes=1), "programs")
    (row,) = read_rows(tmp_path / "gpu_kernels.tsv")
    assert (row["program"], row["sizes"], row["commit"]) == ("train_blocks", "TILE=64", "abc")


def test_the_summary_lists_targets_and_what_there_is_no_time_for() -> None:
    journal = Journal(None, {}, minutes=1)
    assert journal.has_time_for("a short fit", 30)
    assert not journal.has_time_for("a long fit", 90)
    journal.target("speed", "at most 4", 3.2, 4)
    journal.target("size", "at most 1", 3.2, 1)
    journal.target("rest", "at most 1", None, 1)
    lines = journal.summary().splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["left", "met", "MISSED", "not"]
    assert "a long fit: takes some 90 s" in lines[0]
    journal.share = 0.5  # so that later parts have time
    assert not journal.has_time_for("a check", 45)


@pytest.mark.parametrize(
    ("found", "is_as_good"),
    [
        ({}, True),
        ({"psnr_db": 41.9}, False),
        ({"parameters_per_pixel": 0.36}, False),
        ({"peak_gpu_memory_gib": 9.0}, False),
        ({"peak_gpu_memory_gib": None}, False),
    ],
)
def test_a_goal_is_more_than_time(found: dict[str, float], is_as_good: bool) -> None:
    goal = Goal(42.0, 2.0, {"parameters_per_pixel": 0.35, "peak_gpu_memory_gib": 8.0})
    good = {"psnr_db": 42.0, "parameters_per_pixel": 0.35, "peak_gpu_memory_gib": 7.0}
    assert goal.is_as_good(good | found) == is_as_good


def test_every_recipe_is_valid() -> None:
    jobs = (FULL.pluto, FULL.mosaic, FULL.reference, FULL.gigapixel)
    with initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
        for recipe in {recipe for job in jobs for recipe in job.recipes}:
            check_config(compose("config", [*recipe.split(), *FULL.common, "logger=none"]))


def test_a_refused_fit_is_a_failure(images: Path, tmp_path: Path) -> None:
    journal = Journal(None, {}, minutes=1)
    job = Job("picture", ("patch_size=0",), expected_s=1, goal=Goal(1.0, 1.0), repeats=1)
    run_job(job, images / "Road.jpg", ["trainer=cpu"], tmp_path, journal)
    assert "patch_size" in journal.failures[0]
    assert "not measured  picture, fit time" in journal.summary()


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
    assert median_ms(cuda, lambda: actions.append("act"), repeats=3, warm_ups=1) == 3.0
    assert len(actions) == 4


def test_rows_name_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    row = bench.origin("a command", "abc", torch.device("cuda"))
    assert str(row["hardware"]).startswith("Some GPU, driver unknown, torch ")
    assert (row["command"], row["commit"]) == ("a command", "abc")


@no_gpu
@pytest.mark.slow
def test_everything_is_rehearsed_on_a_cpu(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main([str(images), "--rehearse", f"--out={tmp_path}"]) == 0
    assert len(read_rows(tmp_path / "gpu_fits.tsv")) == 4
    summary = capsys.readouterr().out.partition("s in all")[2]
    assert "left out" not in summary
    assert "FAILED" not in summary


def test_without_a_gpu_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        bench.main([str(images)])
    assert ended.value.code == 1
    assert "--rehearse" in capsys.readouterr().err
