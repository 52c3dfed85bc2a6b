"""What plain PyTorch computes instead of the compiled steps, and that the log says why."""

import importlib.util
import logging
import re
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from kernel_problems import CPU, kind_with, problem_of, with_steps
from workshop import FAILS, WRITES, Workshop, forget

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.criteria import MSELoss
from miner.fitting.readout import ClosedFormReadout
from miner.fitting.steps import BlockProblem
from miner.kernels.backend import CompiledBackend
from miner.models.activations import Sine
from miner.models.encodings import NoEncoding
from miner.models.heads import LinearHead

PROBLEM = problem_of(kind_with(Sine, "closed_form"), 36)


def prepared(problem: BlockProblem, device: str = "cpu") -> Backend:
    backend, where = CompiledBackend(), torch.device(device)
    return backend.prepare([problem.network], problem.readout, problem.steps, where)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (FAILS, "cannot do it"),
        ("exit 3", "exit status 3"),
        (WRITES, "file too short|invalid ELF|not a mach-o"),
    ],
    ids=["fails", "says_nothing", "no_library"],
)
def test_plain_pytorch_replaces_a_compiler_that_fails(
    workshop: Workshop, caplog: pytest.LogCaptureFixture, body: str, reason: str
) -> None:
    workshop.install(body)
    assert prepared(PROBLEM) == EagerBackend()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert re.search(f"^backend=compiled: .*({reason}).*; plain PyTorch", record.message)


def test_plain_pytorch_replaces_a_missing_compiler(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    (workshop.folder / "bin" / "cc").unlink()
    forget()
    assert prepared(PROBLEM) == EagerBackend()
    assert "no C compiler was found; pip install ziglang" in caplog.text


class OwnSine(Sine):
    """May compute anything."""


class OwnReadout(ClosedFormReadout):
    """May solve anything."""


class OwnHead(LinearHead):
    """May compute anything."""


class OwnLoss(MSELoss):
    """May be anything."""


class OwnEncoding(NoEncoding):
    """Computed before the steps."""


def with_mlp(**parts: Any) -> BlockProblem:
    network = PROBLEM.network
    return PROBLEM._replace(network=replace(network, mlp=replace(network.mlp, **parts)))


UNSUPPORTED = {
    "activation OwnSine": with_mlp(activation=OwnSine()),
    "readout OwnReadout": PROBLEM._replace(readout=OwnReadout()),
    "output head OwnHead": PROBLEM._replace(network=replace(PROBLEM.network, head=OwnHead())),
    "loss OwnLoss": with_steps(PROBLEM, loss=OwnLoss()),
    "optimizer SGD": with_steps(PROBLEM, optimizer=partial(torch.optim.SGD, lr=1e-2)),
    "optimizer.amsgrad=true": with_steps(
        PROBLEM, optimizer=partial(torch.optim.Adam, lr=1e-2, amsgrad=True)
    ),
}
TOO_LARGE_FOR_A_GPU = {
    "model.width=65: more than": with_mlp(width=65),
    "model.depth=5: more than": with_mlp(depth=5),
}
DRAWS = {"fitting.batch_pixels=9": with_steps(PROBLEM, batch_pixels=9)}


@pytest.mark.parametrize(
    ("device", "name", "problem"),
    [("cpu", *item) for item in (UNSUPPORTED | DRAWS).items()]
    + [("cuda", *item) for item in (UNSUPPORTED | TOO_LARGE_FOR_A_GPU).items()],
)
def test_plain_pytorch_computes_what_is_not_compiled(
    workshop: Workshop,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    device: str,
    name: str,
    problem: BlockProblem,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())  # Triton may be absent
    assert prepared(problem, device) == EagerBackend()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"backend=compiled: {name}" in caplog.text
    assert workshop.calls == []


def test_plain_pytorch_computes_on_a_gpu_without_triton(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert prepared(PROBLEM, device="cuda") == EagerBackend()
    assert "pip install triton" in caplog.text


@pytest.mark.parametrize("problem", [PROBLEM, with_mlp(encoding=OwnEncoding())])
def test_what_is_compiled_is_prepared_silently(
    caplog: pytest.LogCaptureFixture, problem: BlockProblem
) -> None:
    assert prepared(problem) == CompiledBackend()
    assert caplog.records == []


def test_plain_pytorch_needs_no_preparation() -> None:
    steps = DRAWS["fitting.batch_pixels=9"].steps
    backend = EagerBackend().prepare([PROBLEM.network], PROBLEM.readout, steps, CPU)
    assert backend == EagerBackend()
