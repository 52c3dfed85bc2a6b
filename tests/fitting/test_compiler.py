"""The cache of compiled steps: what is compiled, when, and where it is kept."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from workshop import FAILS, WRITES, Workshop, forget

from miner.kernels.cpu import compiler, library
from miner.kernels.cpu.compiler import CompilerError, build


def test_a_library_is_compiled_once(workshop: Workshop) -> None:
    first, again = (build(workshop.source) for _ in range(2))
    assert first == again
    assert len(workshop.calls) == 1


def test_a_later_process_finds_the_library(workshop: Workshop) -> None:
    first = build(workshop.source)
    forget()
    assert build(workshop.source) == first
    assert len(workshop.calls) == 1


def test_the_cache_holds_the_library_and_nothing_else(workshop: Workshop) -> None:
    built = build(workshop.source)
    assert workshop.kept == [built]


@pytest.mark.parametrize("name", ["block.c", "block.h", "new.h"])
def test_a_changed_source_is_another_library(workshop: Workshop, name: str) -> None:
    first = build(workshop.source)
    workshop.source.with_name(name).write_text("int g(void);")
    assert build(workshop.source) != first


def test_other_flags_make_another_library(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(workshop.source)
    monkeypatch.setattr(compiler, "_FLAGS", ["-O0"])
    assert build(workshop.source) != first


def test_another_compiler_makes_another_library(workshop: Workshop) -> None:
    first = build(workshop.source)
    workshop.install(WRITES, version="2.0")
    assert build(workshop.source) != first


def test_another_processor_has_another_library(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(workshop.source)
    monkeypatch.setattr(compiler, "_processor", lambda: "another one")
    assert build(workshop.source) != first


def test_a_compilation_that_fails_leaves_nothing(workshop: Workshop) -> None:
    workshop.install(FAILS)
    with pytest.raises(CompilerError, match=r"cc failed: block\.c: cannot do it$"):
        build(workshop.source)
    assert workshop.kept == []


def test_a_failure_without_a_word_is_told_by_its_status(workshop: Workshop) -> None:
    workshop.install("exit 3")
    with pytest.raises(CompilerError, match="exit status 3"):
        build(workshop.source)


def test_a_compiler_that_writes_nothing_has_failed(workshop: Workshop) -> None:
    workshop.install("exit 0")
    with pytest.raises(CompilerError):
        build(workshop.source)


def test_a_cache_that_cannot_be_written_to_is_done_without(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workshop.folder / "file").touch()
    (workshop.folder / "temporary").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(workshop.folder / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(workshop.folder / "temporary"))
    built = [build(workshop.source) for _ in range(2)]
    assert built[0].is_relative_to(workshop.folder / "temporary")
    assert built[0].exists()
    assert len(workshop.calls) == 1


def test_a_compiler_that_does_not_run_is_none(workshop: Workshop) -> None:
    (workshop.folder / "bin" / "cc").write_text("#!/bin/sh\nexit 1\n")
    forget()
    with pytest.raises(CompilerError, match="no C compiler"):
        build(workshop.source)


def test_a_compiler_of_another_machine_is_none(workshop: Workshop) -> None:
    (workshop.folder / "bin" / "cc").write_bytes(b"\x7fELF of something else")
    forget()
    with pytest.raises(CompilerError, match="no C compiler"):
        build(workshop.source)


def test_no_home_is_done_without(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(name: str) -> str:
        raise RuntimeError("Could not determine home directory.")

    (workshop.folder / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(workshop.folder / "temporary"))
    monkeypatch.setattr(compiler.platformdirs, "user_cache_dir", no_home)
    forget()
    assert build(workshop.source).is_relative_to(workshop.folder / "temporary")


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The compilers that are there, and a cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget()
    yield
    forget()


@pytest.mark.slow
def test_a_damaged_library_is_compiled_again(empty_cache: None) -> None:
    build(library._SOURCE).write_bytes(b"half of it")
    assert isinstance(library.library(), library.Library)


@pytest.fixture
def no_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the compiled steps from where they are kept, instead of compiling them."""
    kept = build(library._SOURCE)

    def copy(command: Sequence[str], source: Path, there: Path) -> None:
        shutil.copy(kept, there)

    monkeypatch.setattr(compiler, "_compile", copy)


def test_a_damaged_library_is_built_again(no_compiling: None, empty_cache: None) -> None:
    path = build(library._SOURCE)
    path.write_bytes(b"half of it")
    assert isinstance(library.library(), library.Library)
    assert path.stat().st_size > 1000
