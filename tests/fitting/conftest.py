"""What the tests of this folder start from."""

import importlib.util
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from workshop import WRITES, Workshop, forget

from miner.kernels.cpu import compiler

if importlib.util.find_spec("triton") is None:  # there is none for macOS
    collect_ignore_glob = ["test_triton_*"]


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    without_packages = SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None))
    monkeypatch.setattr(compiler, "importlib", without_packages)
    binaries, code = tmp_path / "bin", tmp_path / "code"
    for folder in (binaries, code):
        folder.mkdir()
    monkeypatch.setenv("PATH", f"{binaries}:/usr/bin:/bin")
    which = partial(shutil.which, path=str(binaries))
    monkeypatch.setattr(compiler, "shutil", SimpleNamespace(which=which, rmtree=shutil.rmtree))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (code / "block.c").write_text("int f(void);")
    (code / "block.h").write_text("#define ONE 1")
    shop = Workshop(tmp_path, code / "block.c")
    shop.install(WRITES)
    yield shop
    forget()
