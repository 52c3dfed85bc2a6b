"""What the tests of the commands start from."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from in_process import composed
from omegaconf import DictConfig
from runs import (
    TINY,
    WITH_PICTURES,
    Command,
    Compose,
    Fit,
    Outcome,
    finish_run,
    run_main,
    save_picture,
)

from miner.config.job import Job
from miner.engine.train import run_job


@pytest.fixture(scope="session", autouse=True)
def no_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep W&B apart from the account, settings and caches of whoever runs the tests."""
    home = tmp_path_factory.mktemp("wandb-home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        for name in ("CONFIG", "CACHE", "DATA"):
            patch.setenv(f"WANDB_{name}_DIR", str(home / name.lower()))
        patch.setenv("NETRC", str(home / "netrc"))
        yield


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return save_picture(tmp_path / "picture.png")


@pytest.fixture
def tiny_config(picture: Path) -> Compose:
    """Compose the configuration of a tiny run of `picture`, with further overrides."""

    def compose_tiny(*overrides: str) -> DictConfig:
        return composed(*TINY, f"image.path='{picture}'", *overrides)

    return compose_tiny


@pytest.fixture
def fit(tmp_path: Path, tiny_config: Compose) -> Fit:
    """Do a tiny run without the command around it; gives its folder, named `into`."""

    def fit_tiny(*overrides: str, into: str = "run") -> Path:
        (tmp_path / into).mkdir(exist_ok=True)
        run_job(tiny_config(*overrides), Job(tmp_path / into, overrides, time.time()))
        return tmp_path / into

    return fit_tiny


@pytest.fixture
def command(tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Call the command in `tmp_path` for a tiny run of `picture`, with further arguments."""

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        status = run_main(tmp_path, *TINY, f"image.path={picture.name}", *arguments)
        said = capsys.readouterr()
        return Outcome(status, said.out + said.err)

    return call


@pytest.fixture(scope="session")
def logged_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one run of the command, with every logger and all pictures."""
    folder = tmp_path_factory.mktemp("logged")
    own = (f"image.path={folder}/picture.png", "logger=[wandb,csv,tensorboard]", WITH_PICTURES)
    return finish_run(folder, *own)
