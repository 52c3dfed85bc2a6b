"""What runs on a GPU instead of the programs that it has no room or no name for."""

from dataclasses import replace

import pytest
from gpu_problems import DEVICE
from problems import Problem, problem
from test_fallback import UNKNOWN, prepared
from triton.runtime.errors import OutOfResources

from miner.fitting.backend import Backend, EagerBackend
from miner.kernels.backend import TritonBackend
from miner.kernels.triton.steps import TritonTrainer


def in_triton(given: Problem) -> Backend:
    """The kernel on a GPU, or where its programs are interpreted."""
    return TritonBackend().prepare([given.model], given.readout, given.steps, DEVICE)


@pytest.mark.parametrize("name", sorted(set(UNKNOWN) - {"fitting.batch_pixels=9"}))
def test_plain_pytorch_takes_over_what_a_gpu_has_no_program_for(
    caplog: pytest.LogCaptureFixture, name: str
) -> None:
    assert prepared(UNKNOWN[name], device="cuda") == EagerBackend()
    assert f"backend=compiled: {name}" in caplog.text


@pytest.mark.parametrize(
    ("sizes", "message"), [({"width": 65}, "model.width=65"), ({"depth": 5}, "model.depth=5")]
)
def test_networks_too_large_for_a_gpu_program_are_left_to_pytorch(
    caplog: pytest.LogCaptureFixture, sizes: dict[str, int], message: str
) -> None:
    mlp = replace(problem().model.mlp, **sizes)
    large = replace(problem(), model=replace(problem().model, mlp=mlp))
    assert prepared(large, device="cuda") == EagerBackend()
    assert f"{message}: more than" in caplog.text


def test_programs_that_a_gpu_has_no_room_for_are_left_to_pytorch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def launch(steps: TritonTrainer, n_steps: int) -> None:
        raise OutOfResources(348160, 232448, "shared memory")

    monkeypatch.setattr(TritonTrainer, "advance", launch)
    assert in_triton(problem()) == EagerBackend()
    assert "shared memory" in caplog.text


def test_plain_pytorch_takes_over_on_a_gpu_without_triton(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert prepared(problem(), device="cuda") == EagerBackend()
    assert "pip install triton" in caplog.text


@pytest.mark.parametrize("n_drawn", [None, 9])
def test_a_gpu_has_a_program_of_its_own(
    caplog: pytest.LogCaptureFixture, n_drawn: int | None
) -> None:
    assert in_triton(problem().with_steps(batch_pixels=n_drawn)) == TritonBackend()
    assert caplog.records == []
