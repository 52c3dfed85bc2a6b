"""How many threads a process uses."""

import os
from collections.abc import Iterator

import joblib
import pytest
import torch

from miner.startup import share_cores, use_available_cores


@pytest.fixture(autouse=True)
def five_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine of five cores; PyTorch's number of threads is restored."""
    monkeypatch.delenv("OMP_NUM_THREADS")  # also restores it, should a test set it
    monkeypatch.setattr(joblib, "cpu_count", lambda only_physical_cores: 5)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("n_parallel_jobs", "expected"), [(1, 5), (2, 2), (9, 1)])
def test_parallel_jobs_share_the_cores(n_parallel_jobs: int, expected: int) -> None:
    use_available_cores(n_parallel_jobs)
    assert torch.get_num_threads() == expected


def test_omp_num_threads_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # torch read it when it was imported
    use_available_cores()
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("world_size", "granted", "expected"), [(2, None, 2), (8, "3", 3), (2, "9", 5)]
)
def test_ranks_share_the_cores_or_use_those_that_slurm_grants(
    monkeypatch: pytest.MonkeyPatch, world_size: int, granted: str | None, expected: int
) -> None:
    if granted is not None:
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", granted)
    share_cores(world_size)
    assert (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]) == (expected, str(expected))
