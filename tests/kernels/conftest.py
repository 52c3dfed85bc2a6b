"""What the tests of this folder start from."""

import importlib.util
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from workshop import WRITES, Workshop, forget

if importlib.util.find_spec("triton") is None:  # there is none for macOS
    collect_ignore_glob = ["test_triton_*"]


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
