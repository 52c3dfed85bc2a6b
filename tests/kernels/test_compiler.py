"""The cache of compiled steps: what is compiled, when, and where it is stored."""

import tempfile
from typing import Any

import platformdirs
import pytest
from workshop import FAILS, WRITES, Workshop, forget

from miner.kernels.cpu.compiler import CompilerError, build
from miner.kernels.cpu.trainer import load


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
    with pytest.raises(CompilerError, match=message):
        build(workshop.source)
    assert workshop.cached == []


@pytest.mark.parametrize("content", [b"#!/bin/sh\nexit 1\n", b"\x7fELF of something else"])
def test_a_compiler_that_does_not_run_is_ignored(workshop: Workshop, content: bytes) -> None:
    (workshop.folder / "bin" / "cc").write_bytes(content)
    with pytest.raises(CompilerError, match="no C compiler"):
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


def test_a_damaged_library_is_named(workshop: Workshop) -> None:
    with pytest.raises(CompilerError, match=r"\.so cannot be loaded: .*; delete it"):
        load(build(workshop.source))
