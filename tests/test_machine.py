"""How many threads a process takes."""

import os
from collections.abc import Iterator

import joblib
import pytest
import torch

from miner.startup import share_cores, use_available_cores


@pytest.fixture(autouse=True)
def five_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave PyTorch's number of threads as it is found."""
    monkeypatch.delenv("OMP_NUM_THREADS")  # also restores it, should a test set it
    monkeypatch.setattr(joblib, "cpu_count", lambda only_physical_cores: 5)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("n_side_by_side", "expected"), [(1, 5), (2, 2), (9, 1)])
def test_jobs_side_by_side_share_the_cores(n_side_by_side: int, expected: int) -> None:
    use_available_cores(n_side_by_side)
    assert torch.get_num_threads() == expected


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # torch read it when it was imported
    use_available_cores()
    assert torch.get_num_threads() == 1


def test_ranks_share_the_cores_and_tell_what_they_start(monkeypatch: pytest.MonkeyPatch) -> None:
    share_cores(2)
    assert (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]) == (2, "2")


def test_cores_that_slurm_grants_are_a_ranks_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    share_cores(8)
    assert torch.get_num_threads() == 3
