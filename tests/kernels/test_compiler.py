"""The cache of compiled steps, and what plain PyTorch computes instead of them."""

import importlib.util
import logging
import re
import subprocess
import tempfile
from dataclasses import replace
from functools import partial
from typing import Any

import platformdirs
import pytest
import torch
from block_problems import Problem, problem_of
from kernel_problems import kind_with
from workshop import FAILS, WRITES, Workshop, forget

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.criteria import MSELoss
from miner.fitting.readout import ClosedFormReadout
from miner.kernels.backend import CompiledBackend, TritonBackend
from miner.kernels.cpu.trainer import build
from miner.kernels.ops import UnsupportedError
from miner.models.activations import Sine
from miner.models.encodings import Encoding, NoEncoding
from miner.models.heads import LinearHead
from miner.models.network import BlockMLP


def test_a_library_is_compiled_once(workshop: Workshop) -> None:
    first, again = (build(workshop.source) for _ in range(2))
    forget()  # a later process finds it, too
    assert build(workshop.source) == again == first
    assert len(workshop.calls) == 1
    assert workshop.cached == [first]


@pytest.mark.parametrize("name", ["block.c", "block.h", "new.h"])
def test_a_changed_source_makes_another_library(workshop: Workshop, name: str) -> None:
    first = build(workshop.source)
    workshop.source.with_name(name).write_text("int g(void);")
    assert build(workshop.source) != first


@pytest.mark.parametrize("changes", [{"flags": ["-O0"]}, {"processor": "another one"}], ids=str)
def test_other_flags_and_processors_have_other_libraries(
    workshop: Workshop, changes: dict[str, Any]
) -> None:
    assert build(workshop.source, **changes) != build(workshop.source)


def test_another_compiler_makes_another_library(workshop: Workshop) -> None:
    first = build(workshop.source)
    workshop.install(WRITES, version="2.0")
    assert build(workshop.source) != first


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (FAILS, r"cc failed: block\.c: cannot do it$"),
        ("exit 3", "exit status 3"),
        ("exit 0", "exit status 0"),  # without a library
    ],
)
def test_a_compilation_that_fails_leaves_nothing(
    workshop: Workshop, body: str, message: str
) -> None:
    workshop.install(body)
    with pytest.raises(UnsupportedError, match=message):
        build(workshop.source)
    assert workshop.cached == []


@pytest.mark.parametrize("content", [b"#!/bin/sh\nexit 1\n", b"\x7fELF of something else"])
def test_a_compiler_that_does_not_run_is_ignored(workshop: Workshop, content: bytes) -> None:
    (workshop.folder / "bin" / "cc").write_bytes(content)
    with pytest.raises(UnsupportedError, match="no C compiler"):
        build(workshop.source)


@pytest.mark.parametrize(
    ("hangs", "message"), [("--version", "no C compiler"), ("-o", "cc took longer than 1 s")]
)
def test_a_compiler_that_hangs_is_given_up(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, hangs: str, message: str
) -> None:
    run = partial(subprocess.run, capture_output=True, text=True, timeout=1)
    monkeypatch.setattr("miner.kernels.cpu.trainer._run", run)
    script = f'#!/bin/sh\ncase "$*" in *{hangs}*) exec /bin/sleep 30;; *) echo 1.0;; esac\n'
    (workshop.folder / "bin" / "cc").write_text(script)
    forget()
    with pytest.raises(UnsupportedError, match=message):
        build(workshop.source)


@pytest.mark.parametrize("obstacle", ["file", "no home"])
def test_a_temporary_folder_replaces_a_cache_that_cannot_be_written_to(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    def no_home(name: str) -> str:
        raise RuntimeError("Could not determine home directory.")

    temporary = workshop.folder / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    if obstacle == "file":
        (workshop.folder / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(workshop.folder / "file"))
    else:
        monkeypatch.setattr(platformdirs, "user_cache_dir", no_home)
    built = [build(workshop.source) for _ in range(2)]
    assert built[0].is_relative_to(temporary)
    assert built[0].exists()
    assert len(workshop.calls) == 1


KIND = kind_with(Sine, "closed_form")
PROBLEM = problem_of(KIND, 36).single()
COMPILED, TRITON = CompiledBackend(), TritonBackend()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (FAILS, "cannot do it"),
        (WRITES, "cannot be loaded: .*(file too short|invalid ELF|not a mach-o).*; delete it"),
    ],
    ids=["fails", "no_library"],
)
def test_plain_pytorch_replaces_a_compiler_that_fails(
    workshop: Workshop, caplog: pytest.LogCaptureFixture, body: str, reason: str
) -> None:
    workshop.install(body)
    assert COMPILED.prepare(PROBLEM) == EagerBackend()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert re.search(f"^backend=compiled: .*({reason}).*; plain PyTorch", record.message)


def test_plain_pytorch_replaces_a_missing_compiler(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    (workshop.folder / "bin" / "cc").unlink()
    forget()
    assert COMPILED.prepare(PROBLEM) == EagerBackend()
    assert "no C compiler was found; pip install ziglang" in caplog.text


def own(base: type) -> Any:
    """An object of a subclass, which may compute anything."""
    return type(f"Own{base.__name__}", (base,), {})()


OWN_MLP = type("OwnBlockMLP", (BlockMLP,), {})(*vars(PROBLEM.network.model).values())


def with_model(**parts: Any) -> Problem:
    network = PROBLEM.network
    return PROBLEM._replace(network=replace(network, model=replace(network.model, **parts)))


UNSUPPORTED = {
    "activation OwnSine": with_model(activation=own(Sine)),
    "readout OwnClosedFormReadout": PROBLEM._replace(readout=own(ClosedFormReadout)),
    "output head OwnLinearHead": PROBLEM._replace(
        network=replace(PROBLEM.network, head=own(LinearHead))
    ),
    "model OwnBlockMLP": PROBLEM._replace(network=replace(PROBLEM.network, model=OWN_MLP)),
    "loss OwnMSELoss": PROBLEM.with_steps(loss=own(MSELoss)),
    "optimizer SGD": PROBLEM.with_steps(optimizer=partial(torch.optim.SGD, lr=1e-2)),
}
TOO_LARGE_FOR_A_GPU = {"model.depth=5: more than": problem_of(KIND._replace(depth=5), 36)}
DRAWS = {"fitting.batch_pixels=9": PROBLEM.with_steps(batch_pixels=9)}


@pytest.mark.parametrize(
    ("backend", "name", "problem"),
    [(COMPILED, *item) for item in (UNSUPPORTED | DRAWS).items()]
    + [(TRITON, *item) for item in (UNSUPPORTED | TOO_LARGE_FOR_A_GPU).items()],
)
def test_plain_pytorch_computes_what_is_not_compiled(
    workshop: Workshop,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    backend: Backend,
    name: str,
    problem: Problem,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())  # Triton may be absent
    assert backend.prepare(problem) == EagerBackend()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"backend=compiled: {name}" in caplog.text
    assert workshop.calls == []


def test_plain_pytorch_computes_on_a_gpu_without_triton(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    there = PROBLEM.targets.as_subclass(type("OnGPU", (torch.Tensor,), {"is_cuda": True}))
    assert COMPILED.prepare(PROBLEM._replace(targets=there)) == EagerBackend()
    assert "pip install triton" in caplog.text


@pytest.mark.parametrize("encoding", [KIND.encoding, own(NoEncoding)])
def test_what_is_compiled_is_prepared_silently(
    caplog: pytest.LogCaptureFixture, encoding: Encoding
) -> None:
    given = problem_of(KIND._replace(encoding=encoding), 36).single()
    assert COMPILED.prepare(given) == COMPILED
    assert caplog.records == []
