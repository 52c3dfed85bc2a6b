"""Triton's compiler accepts the GPU's programs, which its interpreter does not show."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rows import ROOT, read_rows

from miner.kernels.activations import ACTIVATIONS

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="there is no Triton for this system"
)


def compiled(results: Path, *arguments: str) -> dict[str, dict[str, str]]:
    """Rows by program. A process of its own: in this one Triton interprets."""
    environment = {name: v for name, v in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(ROOT / "scripts/gpu/compile.py"), "--results", str(results)]
    subprocess.run([*command, *arguments], env=environment, check=True, capture_output=True)
    return {row["program"]: row for row in read_rows(results)}


@pytest.mark.slow
def test_the_default_network_has_a_program(tmp_path: Path) -> None:
    (row,) = compiled(tmp_path / "rows.tsv", "--only", "siren-closed_form-32").values()
    assert int(row["barriers"]) == 3  # between the threads that write a row and those that read it
    assert int(row["stack_bytes"]) < 1024
    assert int(row["shared_bytes"]) < 227 * 1024 / 2  # for two programs at least


@pytest.mark.slow
def test_all_programs_compile(tmp_path: Path) -> None:
    assert len(compiled(tmp_path / "rows.tsv")) == 2 * len(ACTIVATIONS) + 9
