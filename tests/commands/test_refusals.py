"""Mistakes are answered with the value and a remedy, at once, and nothing is written."""

import os
from pathlib import Path

import pytest
import torch
from runs import TINY, Command, Compose, Outcome, start_python

from miner.config import build_settings
from miner.fitting.fitter import make_spec
from miner.images import PixelFormat
from miner.representation import MinerRepresentation

REFUSED = {  # arguments: what the one line must say
    "patch_size=0": ["patch_size=0:", "2 to 512"],
    "optimizer.lr=fast": ["optimizer.lr=fast:", "above 0"],
    # no such setting
    "+extra=1": ["extra=1:", "--help"],
    "+model.depht=2": ["model.depht=2:", "--help"],
    # impossible together
    "fitting.pixels_per_step=65": ["fitting.pixels_per_step=65:", "64 pixels", "all"],
    "fitting.max_steps=[3,3,3]": ["fitting.max_steps=[3, 3, 3]:", "levels is 2", "n_levels"],
    "model.width=[6,5,4]": ["model.width=[6, 5, 4]:", "levels is 2", "n_levels"],
    "pyramid.n_levels=auto model.width=[6,5]": ["model.width=[6, 5]:", "n_levels"],
    "fitting.max_mse=[0.2,0.1]": ["fitting.max_mse=[0.2, 0.1]:", "above 0"],
    "sizing=by_need sizing.most=0": ["sizing.most=0:", "1 to 1024"],
    # devices
    "trainer.devices=2": ["trainer.devices=2:", "trainer=ddp"],
    "trainer.num_nodes=2": ["trainer.num_nodes=2:", "trainer=ddp"],
    "trainer.strategy=ddp trainer.num_nodes=2": ["trainer.num_nodes=2:", "srun", "NODE_RANK"],
    # the image
    "image.path=missing.png": ["'missing.png'", "does not exist", "sample:astronaut"],
    "image.path=Picture.png": ["'Picture.png'", "did you mean 'picture.png'"],
    "image.path=nowhere/a.png": ["'nowhere/a.png'", "folder", "'nowhere'"],
    "image.path=empty.png": ["'empty.png'", "empty", "again"],
    "image.path=folder.png": ["'folder.png'", "folder", "one image file", "-m"],
    "-m image.path=folder.png": ["'folder.png'", "holds no image", "pattern"],
    "-m image.path=folder*": ["'folder*'", "holds no image"],
    "image.path=*.png": ["'*.png'", "does not exist"],
    "image.crop_px=0": ["image.crop_px=0:", "at least 1", "null"],
    "image.crop_px=2.5": ["image.crop_px=2.5:", "at least 1"],
    "image.path=text.png": ["'text.png'", "known format", "PNG or TIFF"],
    "image.path=https://example.org/a.png": ["example.org", "URL", "download"],
    "image.path=sample:mars": ["'mars'", "astronaut"],
    "image.path=astronaut": ["'astronaut'", "did you mean 'sample:astronaut'"],
    "image.path=''": ["image.path=:", "sample:NAME"],
    "image.path=null": ["image.path=", "sample:NAME"],
    "image.max_pixels=479": ["'picture.png'", "24 x 20", "image.max_pixels to 480"],
    "image.path=/dev/null": ["'/dev/null'", "device", "image file"],
    # the output folder
    "hydra.run.dir=text.png/run": ["hydra.run.dir=text.png/run", "cannot be written", "another"],
    "hydra.run.dir=saved": ["saved", "by hand", "another folder"],
    "resume=nowhere": ["resume=nowhere", "no run was begun", "hydra.run.dir=nowhere"],
    "resume=swept": ["resume=swept", "is a sweep", "hydra.sweep.dir=swept"],
    "resume=nowhere hydra.run.dir=else": ["resume=nowhere", "leave out"],
    "-m resume=nowhere": ["resume=nowhere", "single run", "hydra.sweep.dir"],
    # classes
    "optimizer._target_=torch.optim.LBFGS ~optimizer.betas": ["LBFGS", "adam"],
    "optimizer._target_=torch.optim.Muon ~optimizer.betas": ["Muon", "adam"],
    "optimizer._target_=torch.optim.Adafactor ~optimizer.betas": ["Adafactor", "adam"],
    "optimizer=adam optimizer.betas=[2,3]": ["optimizer", "Invalid beta", "2"],
    "+optimizer.beta=2": ["optimizer", "'beta'"],
    "optimizer._target_=torch.optim.Adams": ["optimizer._target_=torch.optim.Adams:"],
    "storage._target_=miner.pyramid.GaussianPyramid": ["storage._target_=", "Storage"],
    "sizing=uniform sizing._target_=miner.pyramid.GaussianPyramid": ["sizing._target_=", "Sizing"],
    "kernel._target_=miner.pyramid.GaussianPyramid": ["kernel._target_=", "Kernel"],
    "sizing=by_need +sizing.widest=3": ["sizing", "'widest'"],
    "sizing=uniform +sizing.most=3": ["sizing", "'most'"],
    "objective=psnr_at_bits objective.cost=nonsense": ["objective.cost=nonsense", "file_bytes"],
    "objective=psnr_at_bits objective.budget=0": ["objective.budget=0:", "above 0"],
    "objective._target_=miner.pyramid.GaussianPyramid": ["objective._target_=", "Objective"],
    # sweeps
    "-m trainer=ddp seed=0,1": ["trainer=ddp:", "one by one"],
    "-m trainer=cpu,ddp": ["trainer=cpu,ddp:", "one by one"],
    "--multirun trainer.strategy=ddp": ["trainer.strategy=ddp:", "one by one"],
    "hydra.mode=MULTIRUN trainer=ddp": ["trainer=ddp:", "one by one"],
    "-m seed=0,0": ["seed=0", "jobs 0 and 1", "the same", "leave one"],
    "-m logger=none,csv": ["logger=none or logger=csv:", "the same"],
    "-m experiment=search image=camera,brick": ["image:", "easiest of 2", "one at a time"],
    "-m experiment=search seed=0,1": ["seed:", "one at a time"],
    "-m optimizer.lr=interval(0,1)": ["optimizer.lr=interval(0,1):", "hydra/sweeper=optuna"],
    "-m experiment=null,fast": ["experiment=null,fast:", "balanced, budget, fast"],
    "-m image.path=picture.png,./picture.png": ["./picture.png", "the same"],
    "-m seed=0,1 hydra/launcher=submitit_slurm": ["=submitit_slurm:", "srun", "joblib"],
    "-m seed=0,1 hydra/launcher=submitit_local": [
        "=submitit_local:",
        "all 2 jobs at once",
        "hydra.sweeper.max_batch_size=2",
    ],
    "-m --cfg=job seed=0,1": ["--cfg=job:", "leave out -m"],
    "-m -c=job seed=0,1": ["leave out -m"],
    "-m fitting.max_mse=1e-3,x": ["fitting.max_mse=x:", "above 0"],
    "-m seed=range(0,3) image.crop_px=12,0": ["image.crop_px=0:"],
    "-m +extra=1,2": ["extra=1:", "--help"],
    "-m pyramid=gaussian,laplacian model.width=[6,5,4]": ["model.width=[6, 5, 4]:", "n_levels"],
    "-m seed=0,1 hydra.sweep.dir=done": ["hydra.sweep.dir=done:", "single run", "another folder"],
    "-m seed=0,1 hydra.sweep.subdir=same": ["hydra.sweep.subdir=same"],
    "-m seed=0,1 hydra.sweep.subdir=${hydra.job.num}": ["hydra.sweep.subdir="],
    "-m seed=0,1 patch_size=0": ["patch_size=0:", "2 to 512"],
    "-m seed=0,1 image.path=missing.png": ["'missing.png'", "does not exist"],
    "-m seed=0,1 hydra.sweep.dir=text.png/sweep": ["text.png/sweep", "cannot be written"],
    "logger=null": ["logger=null:", "csv, none, tensorboard, wandb"],
    "pyramid=false": ["pyramid=false:", "gaussian, laplacian"],
    # read in detail
    "activation=sine +activation.b=2": ["activation", "'b'"],
    "activation=sine activation._target_=torch.nn.ReLU": ["activation._target_=", "subclass"],
    "~patch_size": ["patch_size:", "2 to 512"],
    "~activation._target_": ["activation._target_:", "class"],
    "activation._target_=5": ["activation._target_=5:", "must name a class"],
    "patch_size=${nowhere}": ["patch_size", "nowhere"],
    "patch_size=???": ["patch_size=???:", "2 to 512"],
    "logger=wandb logger.wandb.offline=maybe": ["logger.wandb.offline=maybe:"],
    "logger=wandb logger.wandb.tags=5": ["logger.wandb.tags=5:"],
    "logger=wandb +logger.wandb.tag=x": ["logger.wandb", "tag"],
    "-m patch_size=8,0": ["patch_size=0:"],
    "-m image.path=picture.png,missing.png": ["'missing.png'"],
}


BY_HYDRA = {
    "pyramid=steerable": ["'pyramid/steerable'", "gaussian", "laplacian"],
    "experiment=none": ["'experiment/none'", "miner_pl", "paper"],
    "pyramids=gaussian": ["'pyramids'"],
    "fitting.max_step=4": ["'fitting.max_step'"],
    "trainer.max_epochs=2": ["'trainer.max_epochs'"],
    "patch_size": ["'patch_size'", "EQUAL"],
    "-m seed=0,1 fitting.max_step=4": ["'fitting.max_step'"],
    "-m seed=0,1 fitting.max_step=4,5": ["'fitting.max_step'"],
    "-m seed=0,1 pyramids=gaussian,laplacian": ["'pyramids'"],
    "-m seed=0,1 pyramid=gaussian,steerable": ["'pyramid/steerable'", "laplacian"],
    "-m seed=0,1 hydra/launcher=slurm": ["'hydra/launcher/slurm'", "joblib"],
}


@pytest.fixture
def desk(tmp_path: Path, picture: Path, tiny_config: Compose) -> Path:
    """The folder where people type, with files that are no images."""
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes(picture.read_bytes()[:300])
    (tmp_path / "folder.png").mkdir()
    spec = make_spec((20, 24), PixelFormat.of_values("uint8", 3), build_settings(tiny_config()))
    MinerRepresentation(spec, {}).save(tmp_path / "saved" / "representation")
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


@pytest.mark.parametrize("arguments", REFUSED)
def test_mistake_is_one_line_with_value_and_remedy(
    desk: Path, command: Command, arguments: str
) -> None:
    (line,) = refuse(desk, command, arguments).lines
    assert line.startswith("error: ")
    assert [words for words in REFUSED[arguments] if words not in line] == []


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
    monkeypatch.setattr("miner.validation.find_spec", lambda name: None)
    (line,) = refuse(desk, command, f"-m seed=0,1 {option}").lines
    assert line.startswith(f"error: {option}: is not installed; pip install")
    assert line.endswith(extra)


def test_hydra_refuses_unknown_names_in_a_sweep(desk: Path, command: Command) -> None:
    assert "steerable" in refuse(desk, command, "-m pyramid=gaussian,steerable").output


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


def test_jobs_of_a_sweep_need_folders_of_their_own(command: Command) -> None:
    assert command("-m", "seed=0,1", "hydra.sweep.subdir=same").status == 1


def test_mistake_leaves_status_1_and_no_folder(desk: Path) -> None:
    before = contents(desk)
    answer = start_python(desk, "-m", "miner.run", *TINY, "image.path=picture.png", "seed=-1")
    assert answer == Outcome(1, "error: seed=-1: must be a whole number from 0 to 2^63 - 1\n")
    assert contents(desk) == before
