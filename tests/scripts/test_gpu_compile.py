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
from miner.models.activations import Sine
from miner.models.encodings import CosineEncoding
from miner.models.heads import LinearHead
from miner.models.network import BlockMLP, BlockNetwork

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="there is no Triton for this system"
)


def compiled(results: Path, *arguments: str) -> dict[str, dict[str, str]]:
    """Rows by program, beside its code. A process of its own: in this one Triton interprets."""
    environment = {name: v for name, v in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_KERNEL_DUMP": "1", "TRITON_DUMP_DIR": str(results.parent)}
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


def test_the_launch_of_width_20_is_the_fastest_of_a_card() -> None:
    from miner.kernels.triton.trainer import Layout  # which some systems cannot import

    rows = read_rows(ROOT / "results" / "gpu_launches.tsv")
    best = min(rows, key=lambda row: float(row["step_ms"]))
    mlp = BlockMLP(CosineEncoding(8), Sine(), width=20, depth=2)
    layout = Layout(BlockNetwork(mlp, LinearHead(), n_channels=1))
    assert layout.tile(1024) == int(best["tile"])
    assert layout.options["num_warps"] == int(best["warps"])


@pytest.fixture(scope="module")
def rendering(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], str]:
    """The row of a program that renders 32 sines, and its code."""
    folder = tmp_path_factory.mktemp("rendering")
    (row,) = compiled(folder / "rows.tsv", "--only", "siren-render-32").values()
    (code,) = folder.rglob("*.ptx")
    return row, code.read_text()


def test_a_row_has_its_command(rendering: tuple[dict[str, str], str]) -> None:
    assert rendering[0]["command"].endswith(" --only siren-render-32")


def test_rendering_takes_sines_not_cosines(rendering: tuple[dict[str, str], str]) -> None:
    assert "sin.approx." in rendering[1]
    assert "cos.approx." not in rendering[1]


def test_layers_take_three_products(rendering: tuple[dict[str, str], str]) -> None:
    per_product = 2 * 4 * (16 + 32) // 8  # of 16x8x8, for 32 pixels, 32 features, 2 layers
    assert float(rendering[0]["pixel_tensor"]) == 3 * per_product / 32


@pytest.mark.slow
@pytest.mark.parametrize("width", [32, 64])
def test_sines_have_a_program(tmp_path: Path, width: int) -> None:
    (row,) = compiled(tmp_path / "rows.tsv", "--only", f"siren-closed_form-{width}").values()
    assert int(row["barriers"]) == 4  # between the threads that write a row and those that read it
    assert int(row["stack_bytes"]) < 256
    assert int(row["shared_bytes"]) < 227 * 1024 / 2  # for two programs at least
    assert float(row["pixel_local"]) == 0


@pytest.mark.slow
def test_all_programs_compile(tmp_path: Path) -> None:
    assert len(compiled(tmp_path / "rows.tsv")) == 2 * len(ACTIVATIONS) + 16
