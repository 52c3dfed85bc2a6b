"""Versions of packages, and which modules import those that a run may lack."""

import ast
from importlib import metadata
from pathlib import Path

import pytest
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from miner.loggers.base import takes_sweep
from miner.loggers.wandb import WandbRun
from miner.support.process import package_versions

ROOT = Path(__file__).parents[2]


def test_no_module_imports_wandb_with_itself() -> None:
    importing = {
        path.stem
        for path in (ROOT / "miner").rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module == "miner.loggers.wandb"
    }
    assert importing == set()


def test_only_wandb_takes_the_sweep() -> None:
    assert takes_sweep(WandbRun)
    assert not takes_sweep(CSVLogger)
    assert not takes_sweep(TensorBoardLogger)


def test_version_of_what_is_not_installed_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package in ("miner", "wandb"):
            raise metadata.PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    found = package_versions()
    assert (found["miner"], found["wandb"], found["torch"]) == (None, None, "1.0")
