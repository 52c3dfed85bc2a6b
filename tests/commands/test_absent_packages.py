"""Runs where packages are missing that they do not need."""

import ast
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from miner.loggers.base import takes_sweep
from miner.loggers.wandb import WandbRun
from miner.support import process as measurements

ROOT = Path(__file__).parents[2]


def test_modules_around_wandb_are_imported_when_they_are_needed() -> None:
    importing = {
        path.stem
        for path in (ROOT / "miner").rglob("*.py")
        for node in ast.parse(path.read_text()).body  # what is imported with the module itself
        if isinstance(node, ast.ImportFrom) and node.module == "miner.loggers.wandb"
    }
    assert importing == set()


def test_only_wandb_is_told_of_the_sweep() -> None:
    assert takes_sweep(WandbRun)
    assert not takes_sweep(CSVLogger)
    assert not takes_sweep(TensorBoardLogger)


def test_version_of_what_is_not_installed_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package in ("miner", "wandb"):
            raise PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(measurements, "version", version)
    found = measurements.package_versions()
    assert (found["miner"], found["wandb"], found["torch"]) == (None, None, "1.0")
