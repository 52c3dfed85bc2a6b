"""Fake compilers with a cache of their own."""

import functools
from dataclasses import dataclass
from pathlib import Path

from miner.kernels.cpu import compiler, library

FAKE = """#!/bin/sh
if [ "$1" = --version ]; then echo "fake {version}"; exit; fi
echo "$@" >> {calls}
{body}
"""
WRITES = 'while [ "$1" != -o ]; do shift; done; echo "no library" > "$2"'
FAILS = 'echo "block.c: cannot do it" >&2; echo "and more" >&2; exit 3'


@dataclass(frozen=True)
class Workshop:
    """A cache of its own, and a `cc` that is the only compiler."""

    folder: Path
    source: Path

    @property
    def calls(self) -> list[str]:
        """Arguments of every compilation so far."""
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def kept(self) -> list[Path]:
        """All files of the cache, but for the compiler's own."""
        return [path for path in (self.folder / "cache").rglob("*") if path.is_file()]

    def install(self, body: str, version: str = "1.0") -> None:
        """Put another `cc` in place, as a new process would find it."""
        command = self.folder / "bin" / "cc"
        calls = self.folder / "calls"
        command.write_text(FAKE.format(version=version, calls=calls, body=body))
        command.chmod(0o755)
        forget()


def forget() -> None:
    """Be as a new process."""
    for module in (compiler, library):
        for value in vars(module).values():
            if isinstance(value, functools._lru_cache_wrapper):
                value.cache_clear()
