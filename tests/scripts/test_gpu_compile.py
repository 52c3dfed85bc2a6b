"""Triton's compiler accepts the GPU's programs, which its interpreter does not show."""

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from gpu.machine_code import Instruction, Loop, loops, programs_at_once
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


def test_instructions_belong_to_the_innermost_loop() -> None:
    found = loops(
        [
            Instruction(0, "integer", None),
            Instruction(16, "float32", None),
            Instruction(32, "shared", None),
            Instruction(48, "tensor", None),
            Instruction(64, "integer", 32),
            Instruction(80, "integer", 16),
            Instruction(96, "integer", 96),  # the end of every program
        ]
    )
    assert found == [
        Loop(True, Counter(shared=1, tensor=1, integer=1)),
        Loop(False, Counter(float32=1, integer=1)),
    ]


def test_a_multiprocessor_holds_as_many_programs_as_one_showed() -> None:
    assert programs_at_once(registers=255, shared_bytes=45_056, n_warps=4) == 2  # gpu_h100
    assert programs_at_once(registers=64, shared_bytes=0, n_warps=2) == 16
    assert programs_at_once(registers=32, shared_bytes=60_000, n_warps=1) == 3


@pytest.mark.slow
def test_the_default_network_has_a_program(tmp_path: Path) -> None:
    (row,) = compiled(tmp_path / "rows.tsv", "--only", "siren-closed_form-32").values()
    assert int(row["barriers"]) == 4  # between the threads that write a row and those that read it
    assert int(row["stack_bytes"]) < 256
    assert int(row["shared_bytes"]) < 227 * 1024 / 2  # for two programs at least
    assert float(row["pixel_tensor"]) > 0
    assert float(row["pixel_local"]) == 0


@pytest.mark.slow
def test_all_programs_compile(tmp_path: Path) -> None:
    assert len(compiled(tmp_path / "rows.tsv")) == 2 * len(ACTIVATIONS) + 12
