"""A resumed run goes on where it was stopped, and ends with the bits that it would have had."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from runs import (
    Command,
    begin_run,
    count_shards,
    finish_run,
    read_report,
    run_main,
    same,
    stop_at_shard,
)

from miner.cli.arguments import resume_arguments
from miner.config.job import finished_report
from miner.representation.spec import Manifest
from miner.support.errors import ConfigError
from miner.support.process import lock_folder

SMALL_CHUNKS = ("fitting.blocks_per_shard=2", "level_selection.coarse_ratio=1")
RUN = ("hydra.run.dir=run", *SMALL_CHUNKS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture and, in `run`, a run of it that was never stopped."""
    return finish_run(tmp_path_factory.mktemp("finished"), *SMALL_CHUNKS).parent


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run without its report, as if it had been killed at the very end."""
    shutil.copytree(finished / "run", tmp_path / "run")
    shutil.copy2(finished / "picture.png", tmp_path / "picture.png")
    (tmp_path / "run" / "report.json").unlink()
    return tmp_path / "run"


@pytest.mark.parametrize(
    "n_fitted", [1, 5, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 3))]
)
def test_stopped_run_is_resumed(
    finished: Path, tmp_path: Path, command: Command, n_fitted: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_at_shard(patch, n_fitted)
        stopped = command(*RUN)
    assert stopped.status == 130
    assert "python -m miner.run resume=" in stopped.lines[-1]
    assert "Traceback" not in stopped.output
    assert run_main(tmp_path, "resume=run") == 0
    assert read_report(tmp_path / "run")["n_resumed_shards"] == n_fitted
    assert same(tmp_path / "run", finished / "run")


def test_what_has_stopped_a_run_is_not_resumed(
    finished: Path, tmp_path: Path, command: Command
) -> None:
    added = "+callbacks.mine._target_=pytorch_lightning.Callback"
    metric = "+metrics.mine._target_=test_added_metrics.Mean"
    stopped = command(*RUN, "trainer.max_time={seconds:0.000001}", added, metric)
    assert stopped.status == 0
    assert stopped.lines[-1].startswith("warning: stopped early; to go on: python -m miner.run")
    assert "mine" in read_report(tmp_path / "run")
    assert read_report(tmp_path / "run")["status"] == "stopped"
    assert finished_report(tmp_path / "run") is None
    assert run_main(tmp_path, "resume=run") == 0
    assert "mine" not in read_report(tmp_path / "run")
    assert same(tmp_path / "run", finished / "run")


def test_shards_of_a_run_are_not_left_beside_another_report(copy: Path, command: Command) -> None:
    outcome = command(*RUN, "callbacks.checkpoint=null")
    assert outcome.status == 1
    (line,) = outcome.lines
    assert line.startswith("error: callbacks.checkpoint=null: run holds what another run has made")
    assert not (copy / "report.json").exists()


def test_finished_run_is_left_as_it_is(finished: Path, command: Command, tmp_path: Path) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    (line,) = command(*RUN).lines
    assert "is finished" in line and "nothing to do" in line
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert {p for p in after if after[p] != before.get(p)} <= {tmp_path / "run" / ".lock"}


def test_other_image_is_refused(copy: Path, command: Command) -> None:
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(copy.parent / "picture.png")
    outcome = command(*RUN)
    assert outcome.status == 1
    assert "content of the image" in outcome.lines[-1] and "picture.png" in outcome.lines[-1]


def test_resume_uses_the_settings_of_the_folder_but_those_that_are_given(
    finished: Path, copy: Path
) -> None:
    (copy.parent / "picture.png").rename(copy.parent / "photo.png")
    elsewhere = copy.parent / "elsewhere"
    elsewhere.mkdir()
    assert run_main(elsewhere, f"resume={copy}", "image.path=../photo.png", "logger=csv") == 0
    assert same(copy, finished / "run")
    assert (copy / "csv").is_dir()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (flip, "level00-chunk00002.safetensors"),
        (Path.unlink, "level01-chunk00000.safetensors"),
        pytest.param(Path.unlink, "level00-chunk00002.safetensors", marks=pytest.mark.slow),
        pytest.param(flip, "level01-chunk00000.safetensors", marks=pytest.mark.slow),
    ],
)
def test_damaged_shard_is_named_and_fitted_again(
    finished: Path,
    copy: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], None],
    name: str,
) -> None:
    damage(copy / "representation" / name)
    written = count_shards(monkeypatch)
    outcome = command(*RUN)
    assert outcome.status == 0
    assert name in outcome.output
    assert len(written) == 1
    assert same(copy, finished / "run")


def test_finished_run_with_a_damaged_shard_is_not_finished_until_it_is_refitted(
    finished: Path, copy: Path, command: Command
) -> None:
    shutil.copy(finished / "run" / "report.json", copy)
    flip(copy / "representation" / "level01-chunk00000.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        stop_at_shard(patch, 0)
        assert command(*RUN).status == 130
    assert not (copy / "report.json").exists()
    assert command(*RUN).status == 0
    assert same(copy, finished / "run")


def test_manifest_of_some_levels_is_not_finished(
    finished: Path, copy: Path, command: Command
) -> None:
    shutil.copy(finished / "run" / "report.json", copy)
    manifest = Manifest.read(copy / "representation")
    replace(manifest, levels={1: manifest.levels[1]}).write(copy / "representation")
    assert "nothing to do" not in command(*RUN).output
    assert same(copy, finished / "run")


@pytest.mark.parametrize("quality", ["NaN", '"good"', "[1]", "{}", "1e999", str(10**400), "true"])
def test_run_whose_report_has_no_quality_is_not_finished(copy: Path, quality: str) -> None:
    report = '{"report_version": 2, "status": "finished", "psnr_db": 31.5}'
    (copy / "report.json").write_text(report)
    assert (finished_report(copy) or {})["psnr_db"] == 31.5
    (copy / "report.json").write_text(report.replace("31.5", quality))
    assert finished_report(copy) is None


def test_other_backend_is_refused(copy: Path, command: Command) -> None:
    manifest = Manifest.read(copy / "representation")
    fit = {**manifest.fit, "backend": "EagerBackend"}
    replace(manifest, fit=fit).write(copy / "representation")
    outcome = command(*RUN)
    assert outcome.status == 1
    assert "was begun with EagerBackend, and here CompiledBackend" in outcome.lines[-1]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("trainer=cpu", ["seed=1"]),
        ("trainer.devices=2", ["seed=1", "trainer=ddp"]),
        ("seed=2", ["trainer=ddp", "trainer.devices=4"]),
    ],
)
def test_given_settings_replace_those_of_the_resumed_run(
    tmp_path: Path, given: str, kept: list[str]
) -> None:
    begin_run(tmp_path, "seed=1", "trainer=ddp", "trainer.devices=4")
    arguments = resume_arguments([f"resume={tmp_path}", given])
    assert arguments == [*kept, f"hydra.run.dir='{tmp_path}'", given]


@pytest.mark.parametrize(
    "added",
    [
        ["+trainer.max_time.minutes=30"],
        ["trainer.callbacks=[{_target_:os.mkdir}]"],
        ["+callbacks.x._target_=os.mkdir", "+callbacks.x.path=a"],
        ["++logger.x={_target_:os.mkdir,path:a}", "metrics.x._target_=os.mkdir"],
    ],
)
def test_what_is_not_resumed_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], added: list[str]
) -> None:
    begin_run(tmp_path, *added, "+callbacks.xy.path=b")
    arguments = resume_arguments([f"resume={tmp_path}"])
    assert arguments == ["+callbacks.xy.path=b", f"hydra.run.dir='{tmp_path}'"]
    assert capsys.readouterr().out == f"without {', '.join(added)}; to have it, give it again\n"
    resume_arguments([f"resume={tmp_path}", *added])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("override", ["activation._target_=os.mkdir", "hydra.run.dir=/"])
def test_class_that_a_file_names_is_not_called(tmp_path: Path, override: str) -> None:
    begin_run(tmp_path, "seed=0", override)
    with pytest.raises(ConfigError, match="is not read from a file"):
        resume_arguments([f"resume={tmp_path}"])


@pytest.mark.parametrize("name", ["hydra", "config"])
@pytest.mark.parametrize("content", ["", "[", "[1]", "hydra: {overrides: 3}"])
def test_damaged_files_of_hydra_are_no_run(tmp_path: Path, name: str, content: str) -> None:
    begin_run(tmp_path, "seed=0")
    (tmp_path / ".hydra" / f"{name}.yaml").write_text(content)
    with pytest.raises(ConfigError, match="no run was begun there"):
        resume_arguments([f"resume={tmp_path}"])


def test_configuration_folder_of_the_run_is_to_be_given_again(tmp_path: Path) -> None:
    begin_run(tmp_path, "pyramid=mine", config_dir="/mine")
    with pytest.raises(ConfigError, match="with --config-dir=/mine; give that again"):
        resume_arguments([f"resume={tmp_path}"])
    flag, pyramid, _ = resume_arguments(["--config-dir=/mine", f"resume={tmp_path}"])
    assert (flag, pyramid) == ("--config-dir=/mine", "pyramid=mine")


def test_shard_of_another_fit_is_refused(
    finished: Path, copy: Path, tmp_path: Path, command: Command
) -> None:
    other = ("hydra.run.dir=other", *SMALL_CHUNKS, "seed=1")
    assert command(*other).status == 0
    name = "level01-chunk00001.safetensors"
    shutil.copy(tmp_path / "other" / "representation" / name, copy / "representation")
    outcome = command(*RUN)
    assert f"{name}: is of another fit" in outcome.output
    assert same(copy, finished / "run")


def test_foreign_file_among_the_shards_is_kept(copy: Path, command: Command) -> None:
    stray = copy / "representation" / "level00-chunk00099.safetensors"
    stray.write_text("mine")
    assert command(*RUN).status == 0
    assert stray.read_text() == "mine"


def test_second_run_in_a_folder_is_refused(tmp_path: Path, command: Command) -> None:
    with lock_folder(tmp_path / "run"):
        outcome = command(*RUN)
    assert outcome.status == 1
    assert "another run uses this folder" in outcome.lines[-1]
    assert not (tmp_path / "run" / ".hydra").exists()
