"""How many threads a process takes."""

from collections.abc import Iterator

import joblib
import pytest
import torch

from miner.machine import use_available_cores


@pytest.fixture(autouse=True)
def five_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave PyTorch's number of threads as it is found."""
    monkeypatch.delenv("OMP_NUM_THREADS")
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
