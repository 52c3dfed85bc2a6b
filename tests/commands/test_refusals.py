"""Wrong arguments are answered with the value and a remedy, at once, and nothing is written."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from acting_loggers import Raising, acting
from hydra.errors import MissingConfigException
from refusals import OF_HYDRA, OF_SETTINGS, REFUSED, SIMILAR
from runs import TINY, Command, Compose, Outcome, begin_run, start_python

from miner.api import compose_settings
from miner.cli.checks import check_settings
from miner.cli.help import REFUSED_BY_HYDRA, explain
from miner.config.build import build_settings
from miner.fitting.pyramid_fit import make_spec
from miner.images.pixel_format import PixelFormat
from miner.representation import Representation
from miner.support.errors import ConfigError, ImageError

HEAVY = {"torch", "pytorch_lightning", "wandb", "cv2", "matplotlib", "skimage", "pyvips"}
HEAVY |= {"tifffile", "OpenEXR", "zarr"}
SLOW = SIMILAR | OF_SETTINGS | OF_HYDRA  # the latter are tested without the command, too


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A representation that was not saved by a run."""
    config = compose_settings({"patch_size": 8, "pyramid": {"n_levels": 2}})
    spec = make_spec((20, 24), PixelFormat.of_values("uint8", 3), build_settings(config))
    return Representation(spec, {}).save(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def desk(tmp_path: Path, picture: Path, saved: Path) -> Path:
    """The folder where people type, with files that are no images."""
    (tmp_path / "text.png").write_text("no image")
    for folder in ("folder.png", "swept", "done"):
        (tmp_path / folder).mkdir()
    begin_run(tmp_path / "begun", "seed=1")
    shutil.copytree(saved, tmp_path / "saved" / "representation")
    (tmp_path / "swept" / "sweep.json").write_text("{}")
    (tmp_path / "done" / "report.json").write_text("{}")
    return tmp_path


def refuse(desk: Path, command: Command, arguments: str) -> Outcome:
    """Call the command, which must refuse and write nothing."""
    before = set(desk.rglob("*"))
    outcome = command(*arguments.split())
    assert outcome.status == 1
    assert "Traceback" not in outcome.output
    assert set(desk.rglob("*")) == before
    return outcome


def check_line(desk: Path, command: Command, arguments: str, words: list[str]) -> None:
    """The command answers with one line that holds these words."""
    (line,) = refuse(desk, command, arguments).lines
    assert line.startswith("error: ")
    assert [word for word in words if word not in line] == []
    assert ("; +" in line) == any(word.startswith("; +") for word in words)  # where it is taken


@pytest.mark.parametrize(
    "arguments", [*REFUSED, *(pytest.param(one, marks=pytest.mark.slow) for one in SLOW)]
)
def test_refusal_is_one_line_with_value_and_remedy(
    desk: Path, command: Command, arguments: str
) -> None:
    check_line(desk, command, arguments, (REFUSED | SLOW)[arguments])


@pytest.mark.parametrize("arguments", OF_SETTINGS)
def test_wrong_setting_is_refused_with_value_and_remedy(
    tiny_config: Compose, arguments: str
) -> None:
    config = tiny_config(*arguments.split())
    with pytest.raises((ConfigError, ImageError)) as caught:
        check_settings(config)
    assert "\n" not in str(caught.value)
    assert [word for word in OF_SETTINGS[arguments] if word not in str(caught.value)] == []


@pytest.mark.parametrize("arguments", OF_HYDRA)
def test_what_hydra_refuses_is_explained(tiny_config: Compose, arguments: str) -> None:
    with pytest.raises(REFUSED_BY_HYDRA) as caught:
        tiny_config(*arguments.split())
    line = explain(caught.value)
    assert "\n" not in line
    assert [word for word in OF_HYDRA[arguments] if word not in line] == []


@pytest.mark.parametrize(
    ("option", "extra"),
    [
        ("hydra/launcher=ray", "'.[ray]'"),
        ("hydra/launcher=submitit_slurm", "'.[submitit]'"),
        ("hydra/sweeper=optuna", "'.[optuna]'"),
    ],
)
def test_missing_plugin_is_named_by_its_extra(option: str, extra: str) -> None:
    answer = explain(MissingConfigException(f"Could not find '{option.replace('=', '/')}'"))
    assert answer == f"{option}: is not installed; pip install -e {extra}"


def test_every_wrong_setting_gets_a_line(desk: Path, command: Command) -> None:
    outcome = refuse(desk, command, "patch_size=0 seed=-1 model.depth=0")
    names = {line.split()[1].split("=")[0] for line in outcome.lines}
    assert (names, len(outcome.lines)) == ({"patch_size", "seed", "model.depth"}, 3)


def test_a_refused_sweep_names_the_job(desk: Path, command: Command) -> None:
    sweep = "-m method=miner,siren seed=0,1 fitting.max_steps=7"
    check_line(desk, command, sweep, ["no use for it", "(method=siren seed=0)"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
def test_cuda_is_refused_in_a_sweep(desk: Path, command: Command) -> None:
    check_line(desk, command, "-m trainer=cpu,cuda", ["trainer.accelerator=cuda"])


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read and write anything")
@pytest.mark.parametrize("arguments", ["image.path=picture.png", "hydra.run.dir=folder.png/run"])
def test_permissions_are_checked(desk: Path, command: Command, arguments: str) -> None:
    (desk / "picture.png").chmod(0o000)
    (desk / "folder.png").chmod(0o500)
    check_line(desk, command, arguments, [])


def test_finished_run_is_not_overwritten(desk: Path, command: Command) -> None:
    assert command("hydra.run.dir=run").status == 0
    changed = "hydra.run.dir=run seed=1 trainer.fast_dev_run=2"
    first, *others = refuse(desk, command, changed).lines
    assert "run: holds a run with other settings" in first
    assert others == ["error:   seed: 0, now 1", "error:   trainer.fast_dev_run: not set, now 2"]


def test_what_miner_fit_has_saved_is_not_taken_for_a_run(desk: Path, command: Command) -> None:
    assert command("hydra.run.dir=run").status == 0
    shutil.copytree(desk / "saved", desk / "run", dirs_exist_ok=True)
    check_line(desk, command, "hydra.run.dir=run", ["miner.fit has saved"])


def test_refusal_has_status_1_and_leaves_no_folder(desk: Path) -> None:
    before = set(desk.rglob("*"))
    answer = start_python(desk, "-m", "miner.run", *TINY, "image.path=picture.png", "seed=-1")
    assert answer == Outcome(1, "error: seed=-1: must be a whole number from 0 to 2^63 - 1\n")
    assert set(desk.rglob("*")) == before


def test_refusals_need_no_heavy_import(tmp_path: Path) -> None:
    arguments = ["--cfg=job", "patch_size=0", "image.path=missing.png", "pyramid=none", "a=1"]
    arguments += ["sizing=by_need"]
    program = (
        "import sys, miner.run\n"
        f"for argument in {arguments}:\n"
        "    sys.argv = ['miner.run', argument]\n"
        "    try: miner.run.main()\n"
        "    except SystemExit: pass\n"
        f"print('imported:', {HEAVY} & set(sys.modules))\n"
    )
    assert "imported: set()" in start_python(tmp_path, "-c", program).lines


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("builtins.MemoryError", ["Traceback", "MemoryError: out of"]),
        ("miner.support.errors.ImageError", ["error: out of\nerror: paper"]),
    ],
)
def test_bug_is_shown_with_its_traceback_and_a_refusal_by_its_lines(
    desk: Path, command: Command, error: str, words: list[str]
) -> None:
    outcome = command(acting(Raising, argument=error), "hydra.run.dir=run")
    assert outcome.status == 1
    assert [word for word in words if word not in outcome.output] == []
    assert ("Traceback" in words) == ("Traceback" in outcome.output)


def test_help_explains_every_group_and_setting_without_heavy_imports(tmp_path: Path) -> None:
    program = (
        "import sys, miner.run\n"
        "sys.argv = ['miner.run', 'seed=1', '--help']\n"
        "miner.run.main()\n"
        f"print('imported:', {HEAVY} & set(sys.modules))\n"
    )
    answer = start_python(tmp_path, "-c", program)
    assert answer.status == 0 and "imported: set()" in answer.lines
    assert "pyramid: gaussian, laplacian" in answer.lines
    (line,) = [line for line in answer.lines if line.startswith("  patch_size=32 ")]
    assert "pixels along a side of a patch" in line
    assert not list(tmp_path.iterdir())


def test_package_lists_its_commands(tmp_path: Path) -> None:
    answer = start_python(tmp_path, "-m", "miner")
    assert answer.status == 0
    for name in ("run", "compare", "render", "evaluate"):
        assert f"python -m miner.{name}" in answer.output
