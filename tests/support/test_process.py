"""Threads of a process, versions of packages, and imports of those that a run may lack."""

import ast
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import joblib
import pytest
import torch

from miner.support.process import package_versions, use_available_cores

ROOT = Path(__file__).parents[2]


def test_no_module_imports_wandb_with_itself() -> None:
    for path in (ROOT / "miner").rglob("*.py"):
        imported = {getattr(node, "module", None) for node in ast.parse(path.read_text()).body}
        assert "miner.loggers.wandb" not in imported


def test_version_of_what_is_not_installed_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package in ("miner", "wandb"):
            raise metadata.PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    found = package_versions()
    assert (found["miner"], found["wandb"], found["torch"]) == (None, None, "1.0")


@pytest.fixture
def five_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine of five cores; PyTorch's number of threads is restored."""
    monkeypatch.delenv("OMP_NUM_THREADS")  # also restores it, should a test set it
    monkeypatch.setattr(joblib, "cpu_count", lambda only_physical_cores: 5)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("five_cores")
@pytest.mark.parametrize(
    ("n_processes", "omp", "granted", "expected"),
    [
        *((1, None, None, 5), (2, None, None, 2), (9, None, None, 1), (1, "1", None, 1)),
        *((1, None, "3", 3), (2, None, "4", 2), (1, None, "9", 5)),
    ],
)
def test_processes_share_cores_unless_omp_num_threads_decides(
    monkeypatch: pytest.MonkeyPatch,
    n_processes: int,
    omp: str | None,
    granted: str | None,
    expected: int,
) -> None:
    torch.set_num_threads(1)
    for name, value in (("OMP_NUM_THREADS", omp), ("SLURM_CPUS_PER_TASK", granted)):
        if value is not None:
            monkeypatch.setenv(name, value)  # torch read it when it was imported
    use_available_cores(n_processes)
    assert (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]) == (expected, str(expected))
