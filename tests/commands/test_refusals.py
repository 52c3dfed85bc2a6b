"""Mistakes are answered with the value and a remedy, at once, and nothing is written."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from mistakes import BY_HYDRA, OF_SETTINGS, REFUSED
from runs import TINY, Command, Compose, Outcome, start_python

from miner.api import compose_settings
from miner.cli.arguments import quote_paths
from miner.cli.checks import validate
from miner.config.build import build_settings
from miner.fitting.pyramid_fit import make_spec
from miner.images import PixelFormat
from miner.representation import Representation
from miner.support.errors import ConfigError, ImageError


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A representation that nothing but its files tells of."""
    config = compose_settings({"patch_size": 8, "pyramid": {"n_levels": 2}})
    spec = make_spec((20, 24), PixelFormat.of_values("uint8", 3), build_settings(config))
    return Representation(spec, {}).save(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def desk(tmp_path: Path, picture: Path, saved: Path) -> Path:
    """The folder where people type, with files that are no images."""
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes(picture.read_bytes()[:300])
    (tmp_path / "folder.png").mkdir()
    shutil.copytree(saved, tmp_path / "saved" / "representation")
    (tmp_path / "swept").mkdir()
    (tmp_path / "swept" / "sweep.json").write_text("{}")
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "report.json").write_text("{}")
    return tmp_path


def contents(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def refuse(desk: Path, command: Command, arguments: str) -> Outcome:
    """Call the command, which must refuse without a trace of it."""
    before = contents(desk)
    outcome = command(*arguments.split())
    assert outcome.status == 1
    assert "Traceback" not in outcome.output
    assert contents(desk) == before
    return outcome


def check_line(desk: Path, command: Command, arguments: str, words: list[str]) -> None:
    """The command says what must be said, in a line."""
    (line,) = refuse(desk, command, arguments).lines
    assert line.startswith("error: ")
    assert [word for word in words if word not in line] == []


@pytest.mark.parametrize("arguments", REFUSED)
def test_mistake_is_one_line_with_value_and_remedy(
    desk: Path, command: Command, arguments: str
) -> None:
    check_line(desk, command, arguments, REFUSED[arguments])


@pytest.mark.slow
@pytest.mark.parametrize("arguments", OF_SETTINGS)
def test_mistake_of_a_setting_is_one_line_too(desk: Path, command: Command, arguments: str) -> None:
    check_line(desk, command, arguments, OF_SETTINGS[arguments])


@pytest.mark.parametrize("arguments", OF_SETTINGS)
def test_mistake_of_a_setting_is_told_with_value_and_remedy(
    desk: Path, tiny_config: Compose, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    monkeypatch.chdir(desk)
    config = tiny_config(*quote_paths(arguments.split()))
    with pytest.raises((ConfigError, ImageError)) as caught:
        validate(config)
    assert "\n" not in str(caught.value)
    assert [word for word in OF_SETTINGS[arguments] if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    "arguments",
    [
        "-m pyramid=glob(*) patch_size=0",
        "-m seed=0,1 patch_size=${nowhere}",
        "logger=csv +logger.csv.nonsense=1",
    ],
)
def test_rare_mistake_leaves_no_trace(desk: Path, command: Command, arguments: str) -> None:
    (line,) = refuse(desk, command, arguments).lines
    assert line.startswith("error: ")


@pytest.mark.parametrize("arguments", BY_HYDRA)
def test_hydra_refuses_unknown_names(desk: Path, command: Command, arguments: str) -> None:
    output = refuse(desk, command, arguments).output
    assert [words for words in BY_HYDRA[arguments] if words not in output] == []


@pytest.mark.parametrize(
    ("option", "extra"),
    [
        ("hydra/launcher=ray", "'.[ray]'"),
        ("hydra/launcher=submitit_local", "'.[submitit]'"),
        ("hydra/launcher=submitit_slurm", "'.[submitit]'"),
        ("hydra/sweeper=optuna", "'.[optuna]'"),
    ],
)
def test_missing_plugin_is_named_by_its_extra(
    desk: Path, command: Command, monkeypatch: pytest.MonkeyPatch, option: str, extra: str
) -> None:
    monkeypatch.setattr("miner.cli.arguments.find_spec", lambda name: None)
    (line,) = refuse(desk, command, f"-m seed=0,1 {option}").lines
    assert line.startswith(f"error: {option}: is not installed; pip install")
    assert line.endswith(extra)


def test_every_mistake_gets_a_line(desk: Path, command: Command) -> None:
    outcome = refuse(desk, command, "patch_size=0 seed=-1 model.depth=0")
    names = {line.split()[1].split("=")[0] for line in outcome.lines}
    assert (names, len(outcome.lines)) == ({"patch_size", "seed", "model.depth"}, 3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
def test_cuda_is_refused_where_there_is_none(desk: Path, command: Command) -> None:
    (line,) = refuse(desk, command, "trainer=cuda").lines
    assert "trainer.accelerator=cuda" in line and "trainer=cpu" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
def test_cuda_is_refused_in_a_sweep(desk: Path, command: Command) -> None:
    (line,) = refuse(desk, command, "-m trainer=cpu,cuda").lines
    assert "trainer.accelerator=cuda" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read and write anything")
@pytest.mark.parametrize("arguments", ["image.path=picture.png", "hydra.run.dir=folder.png/run"])
def test_permissions_are_checked(desk: Path, command: Command, arguments: str) -> None:
    (desk / "picture.png").chmod(0o000)
    (desk / "folder.png").chmod(0o500)
    (line,) = refuse(desk, command, arguments).lines
    assert line.startswith("error: ")


def test_name_that_is_too_long_is_refused(desk: Path, command: Command) -> None:
    (line,) = refuse(desk, command, "image.path=" + 300 * "x").lines
    assert "cannot be read" in line and "check its name" in line


def test_truncated_image_is_refused(desk: Path, command: Command) -> None:
    outcome = command("image.path=cut.png", "hydra.run.dir=run")
    assert outcome.status == 1
    assert "'cut.png' cannot be decoded" in outcome.output and "export it" in outcome.output
    assert "Traceback" not in outcome.output
    assert not (desk / "run" / "representation").exists()


def test_missing_file_with_an_odd_name_is_missing(desk: Path, command: Command) -> None:
    (line,) = refuse(desk, command, "image.path=été.png").lines
    assert "'été.png' does not exist" in line


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc, where no folder can be made")
def test_output_folder_that_cannot_be_made_is_refused(desk: Path, command: Command) -> None:
    (line,) = refuse(desk, command, "hydra.run.dir=/proc/run").lines
    assert "hydra.run.dir=/proc/run" in line and "cannot be written" in line


def test_finished_run_is_not_overwritten(desk: Path, command: Command) -> None:
    assert command("hydra.run.dir=run").status == 0
    first, *others = refuse(desk, command, "hydra.run.dir=run seed=1").lines
    assert "run: holds a run with other settings" in first
    assert others == ["error:   seed: 0, now 1"]


def test_mistake_leaves_status_1_and_no_folder(desk: Path) -> None:
    before = contents(desk)
    answer = start_python(desk, "-m", "miner.run", *TINY, "image.path=picture.png", "seed=-1")
    assert answer == Outcome(1, "error: seed=-1: must be a whole number from 0 to 2^63 - 1\n")
    assert contents(desk) == before
