"""Compile the GPU's programs without a GPU, and report the resources that they take.

python scripts/gpu/compile.py                    rows in results/gpu_programs.tsv
python scripts/gpu/compile.py --only siren-closed_form-32 --results FILE

For compute capability 9.0 (H100, H200): a thread's registers (there are 255) and bytes of stack for
what does not fit them, a program's bytes of shared memory, and seconds of compilation.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

sys.path.insert(0, str(Path(__file__).parents[1]))

from rows import ROOT, Value, append_row, provenance

from miner.fitting.readout import ClosedFormReadout, LearnedReadout, Readout
from miner.kernels.ops import NetworkNumbers
from miner.kernels.triton.layout import Layout, Program
from miner.kernels.triton.programs import render_blocks, train_blocks
from miner.models.activations import Activation, Finer, Gabor, Gaussian, ReLU, Siren
from miner.models.encodings import CosineEncoding
from miner.models.network import BlockMLP, BlockNetwork

TARGET = GPUTarget("cuda", 90, 32)
ACTIVATIONS = (Siren(), Gaussian(), ReLU(), Gabor(), Finer())
FLOATS = (
    "encoded targets coefficients means amplitudes rows trained first second grads best mse_of"
    " best_mse_of outputs"
)
TYPES = {  # of arguments; all others are 32-bit integers
    **dict.fromkeys(FLOATS.split(), "*fp32"),
    **dict.fromkeys(("order", "counts"), "*i32"),
    **dict.fromkeys(("omega", "ridge", "floor"), "fp32"),
    "training": "*i8",
    "S": Program(*["constexpr"] * len(Program._fields)),
}


class Compilation(NamedTuple):
    """A Triton function, and what it is compiled for."""

    name: str
    function: Any
    program: Program
    options: dict[str, int]


def main() -> None:
    """Compile every program whose name is requested and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="the name of one program")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "gpu_programs.tsv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        triton.knobs.cache.dir = cache  # an empty one
        for compilation in programs():
            if arguments.only in (None, compilation.name):
                row: dict[str, Value] = {"program": compilation.name, **compiled(compilation)}
                row["triton"] = triton.__version__
                append_row(arguments.results, row | provenance("python scripts/gpu/compile.py"))
                print(row)


def programs() -> Iterator[Compilation]:
    """Steps with every activation at the default width; with the first one all variants.

    They train over whole patches with the logarithmic loss, unless the name says otherwise.
    """
    solved, learned = ClosedFormReadout(), LearnedReadout()
    for activation, width in [*((each, 32) for each in ACTIVATIONS), (Siren(), 16), (Siren(), 64)]:
        yield program(activation, solved, width, "closed_form")
        yield program(activation, learned, width, "learned")
    yield program(Siren(), solved, 32, "closed_form", "-edges")
    yield program(Siren(), learned, 32, "learned", "-drawn")
    for width in (16, 32, 64):
        yield program(Siren(), learned, width, "render")


def program(
    activation: Activation, readout: Readout, width: int, kind: str, label: str = ""
) -> Compilation:
    """A program for blocks with three channels."""
    mlp = BlockMLP(CosineEncoding(8), activation, width, depth=2)
    network = BlockNetwork(mlp, readout.head(signed_target=True), 3)
    layout = Layout(network)
    function, options = render_blocks, {}
    if kind != "render":
        function = train_blocks
        options = {"log_loss": True, "whole": label == "", "draws": label == "-drawn"}
    numbers = NetworkNumbers.of(network, readout)
    chosen = layout.program(numbers, layout.tile(1024), **options)
    name = f"{type(activation).__name__.lower()}-{kind}-{width}{label}"
    return Compilation(name, function, chosen, layout.options)


def compiled(compilation: Compilation) -> dict[str, Value]:
    """The resources that a program takes; pointers are aligned, as PyTorch's are."""
    signature = {name: TYPES.get(name, "i32") for name in compilation.function.arg_names}
    aligned = [["tt.divisibility", 16]]
    last = len(signature) - 1
    source = ASTSource(
        fn=compilation.function,
        signature=signature,
        constexprs={(last, n): each.value for n, each in enumerate(compilation.program)},
        attrs={(n,): aligned for n, kind in enumerate(signature.values()) if kind[0] == "*"},
    )
    began = time.perf_counter()
    built = triton.compile(source, target=TARGET, options=compilation.options)
    return {
        "tile": compilation.program.tile.value,
        "warps": compilation.options["num_warps"],
        **registers(built.asm["cubin"]),
        "shared_bytes": built.metadata.shared,
        "barriers": len(re.findall(r"\bbarrier\b", built.asm["ttgir"])),
        "compile_s": time.perf_counter() - began,
    }


def registers(cubin: bytes) -> dict[str, Value]:
    """Registers and stack of a compiled program, as its disassembler reports them."""
    tool = Path(triton.__path__[0]) / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), "--dump-resource-usage", file.name]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ((registers, stack),) = re.findall(r"REG:(\d+) STACK:(\d+)", output)
    return {"registers": int(registers), "stack_bytes": int(stack)}


if __name__ == "__main__":
    main()
