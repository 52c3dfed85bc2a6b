"""Fake compilers with a cache of their own."""

import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from miner.kernels.cpu.trainer import cache_folder, library

FAKE = """#!/bin/sh
if [ "$1" = --version ]; then echo "fake {version}"; exit; fi
echo "$@" >> {calls}
{body}
"""
WRITES = 'while [ "$1" != -o ]; do shift; done; echo "no library" > "$2"'
FAILS = 'echo "block.c: cannot do it" >&2; echo "and more" >&2; exit 3'


@dataclass(frozen=True)
class Workshop:
    """A source, and a `cc` that is the only compiler; libraries are cached in `folder`/cache."""

    folder: Path
    source: Path

    @property
    def calls(self) -> list[str]:
        """Arguments of every compilation so far."""
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def cached(self) -> list[Path]:
        """All files of the cache."""
        return [path for path in (self.folder / "cache").rglob("*") if path.is_file()]

    def install(self, body: str, version: str = "1.0") -> None:
        """Install another `cc`, and forget what this process knows of earlier ones."""
        command = self.folder / "bin" / "cc"
        calls = self.folder / "calls"
        command.write_text(FAKE.format(version=version, calls=calls, body=body))
        command.chmod(0o755)
        forget()


def forget() -> None:
    """Be as a new process."""
    cache_folder.cache_clear()
    library.cache_clear()


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # no ziglang
    binaries, code = tmp_path / "bin", tmp_path / "code"
    for folder in (binaries, code):
        folder.mkdir()
    monkeypatch.setenv("PATH", f"{binaries}:/usr/bin:/bin")
    monkeypatch.setattr(shutil, "which", partial(shutil.which, path=str(binaries)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (code / "block.c").write_text("int f(void);")
    (code / "block.h").write_text("#define ONE 1")
    shop = Workshop(tmp_path, code / "block.c")
    shop.install(WRITES)
    yield shop
    forget()
