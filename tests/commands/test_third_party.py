"""An activation and a pyramid of somebody else's, in another package and folder."""

import gc
import importlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import TINY, Command, read_report, save_picture, start_python
from skimage.metrics import peak_signal_noise_ratio

import miner
from miner.images.source import open_image
from miner.support.errors import RepresentationError

PACKAGE = """
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from miner.models.activations import Activation
from miner.pyramids import Pyramid


@dataclass(frozen=True)
class Tanh(Activation):
    steepness: float = 1.0

    def scale(self, trained: Mapping[str, Tensor]) -> float:
        return self.steepness

    def __call__(self, u: Tensor, trained: Mapping[str, Tensor]) -> Tensor:
        return u.tanh()


@dataclass(frozen=True)
class HalfLaplacian(Pyramid):
    def is_signed(self, is_coarsest: bool) -> bool:
        return True

    def target(self, signal: Tensor, prediction: Tensor) -> Tensor:
        return (signal - prediction) / 2

    def merge(self, prediction: Tensor, output: Tensor) -> Tensor:
        return prediction + 2 * output
"""
ACTIVATION = "_target_: their_miner.Tanh\nsteepness: 2.0 # of the derivative at zero\n"
PYRAMID = "_target_: their_miner.HalfLaplacian\nn_levels: auto\n"
MINE = ["--config-dir=options", "activation=mine", "pyramid=mine"]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package, its option files, and a run of the command that used both."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "their_miner.py").write_text(PACKAGE)
    for group, text in (("activation", ACTIVATION), ("pyramid", PYRAMID)):
        (folder / "options" / group).mkdir(parents=True)
        (folder / "options" / group / "mine.yaml").write_text(text)
    save_picture(folder / "picture.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        overrides = [*MINE, *TINY, "image.path=picture.png", "hydra.run.dir=run"]
        answer = start_python(folder, "-m", "miner.run", *overrides)
    assert answer.status == 0, answer.output
    return folder


@pytest.fixture
def imported(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Import the package in this process."""
    monkeypatch.syspath_prepend(theirs)
    importlib.import_module("their_miner")
    yield
    del sys.modules["their_miner"]
    gc.collect()  # or its classes would still be found


def test_their_classes_are_used_with_their_settings(theirs: Path) -> None:
    manifest = json.loads((theirs / "run" / "representation" / "manifest.json").read_text())
    assert manifest["spec"]["pyramid"]["_target_"] == "their_miner.HalfLaplacian"
    activations = [one["model"]["activation"] for one in manifest["spec"]["models"]]
    assert activations == 2 * [{"_target_": "their_miner.Tanh", "steepness": 2.0}]


def test_their_representation_is_refused_without_the_package_which_is_not_imported(
    theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(theirs)
    remedy = "import their_miner first if you trust it, a command by --import their_miner"
    with pytest.raises(RepresentationError, match=remedy):
        miner.load(theirs / "run")
    assert "their_miner" not in sys.modules


def test_their_representation_renders_once_the_package_is_imported(
    theirs: Path, imported: None
) -> None:
    source = open_image(str(theirs / "picture.png"), 480)
    rendered = miner.load(theirs / "run").render()
    psnr_db = peak_signal_noise_ratio(source.read(), rendered, data_range=1)
    assert psnr_db == pytest.approx(read_report(theirs / "run")["psnr_db"], abs=1e-4)


def test_their_option_is_listed_and_refused_without_the_package(
    theirs: Path, tmp_path: Path, command: Command
) -> None:
    shutil.copytree(theirs / "options", tmp_path / "options")
    listing = command(MINE[0], "--help")
    assert listing.status == 0
    assert re.search(r"^activation: siren, .*, mine$", listing.output, re.MULTILINE)
    outcome = command(*MINE)
    assert outcome.status == 1
    assert "their_miner" in outcome.output and "Traceback" not in outcome.output
    assert not (tmp_path / "outputs").exists()
