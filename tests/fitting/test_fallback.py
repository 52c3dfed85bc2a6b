"""What is left to plain PyTorch, and that the log says why."""

import logging
import re
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from problems import Problem, problem
from workshop import FAILS, WRITES, Workshop, forget

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.criteria import MSELoss
from miner.fitting.readout import ClosedFormReadout
from miner.kernels.backend import CompiledBackend
from miner.models.activations import Sine
from miner.models.encodings import NoEncoding
from miner.models.heads import LinearHead


def prepared(given: Problem, device: str = "cpu") -> Backend:
    backend = CompiledBackend()
    return backend.prepare([given.model], given.readout, given.steps, torch.device(device))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (FAILS, "cannot do it"),
        ("exit 3", "exit status 3"),
        (WRITES, "file too short|invalid ELF|not a mach-o"),
    ],
    ids=["fails", "says_nothing", "no_library"],
)
def test_plain_pytorch_takes_over_from_a_compiler_that_fails(
    workshop: Workshop, caplog: pytest.LogCaptureFixture, body: str, reason: str
) -> None:
    workshop.install(body)
    assert prepared(problem()) == EagerBackend()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert re.search(f"^backend=compiled: .*({reason}).*; plain PyTorch", record.message)


def test_plain_pytorch_takes_over_without_a_compiler(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    (workshop.folder / "bin" / "cc").unlink()
    forget()
    assert prepared(problem()) == EagerBackend()
    assert "no C compiler was found; pip install ziglang" in caplog.text


class OwnSine(Sine):
    """May compute anything."""


class OwnReadout(ClosedFormReadout):
    """May solve anything."""


class OwnHead(LinearHead):
    """May give anything."""


class OwnLoss(MSELoss):
    """May be anything."""


class OwnEncoding(NoEncoding):
    """Computed before the steps."""


def with_parts(**parts: Any) -> Problem:
    given = problem()
    mlp_parts = {name: parts.pop(name) for name in ("activation", "encoding") if name in parts}
    model = replace(given.model, mlp=replace(given.model.mlp, **mlp_parts))
    return replace(given, model=replace(model, head=parts.pop("head", model.head)), **parts)


UNKNOWN = {
    "activation OwnSine": with_parts(activation=OwnSine()),
    "readout OwnReadout": with_parts(readout=OwnReadout()),
    "output head OwnHead": with_parts(head=OwnHead()),
    "loss OwnLoss": problem().with_steps(loss=OwnLoss()),
    "optimizer SGD": problem().with_steps(optimizer=partial(torch.optim.SGD, lr=1e-2)),
    "optimizer.amsgrad=true": problem().with_steps(
        optimizer=partial(torch.optim.Adam, lr=1e-2, amsgrad=True)
    ),
    "fitting.batch_pixels=9": problem().with_steps(batch_pixels=9),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_plain_pytorch_takes_over_what_is_not_compiled(
    workshop: Workshop, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    assert prepared(UNKNOWN[name]) == EagerBackend()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"backend=compiled: {name}" in caplog.text
    assert workshop.calls == []


def test_what_is_compiled_is_prepared_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert prepared(problem()) == CompiledBackend()
    assert caplog.records == []


def test_any_encoding_will_do() -> None:
    assert prepared(with_parts(encoding=OwnEncoding())) == CompiledBackend()


def test_plain_pytorch_needs_no_preparation() -> None:
    given = problem().with_steps(batch_pixels=9)
    device = torch.device("cpu")
    assert (
        EagerBackend().prepare([given.model], given.readout, given.steps, device) == EagerBackend()
    )
