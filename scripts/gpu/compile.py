"""Compile the GPU's programs without a GPU, and report the resources that they take.

python scripts/gpu/compile.py                    rows in results/gpu_programs.tsv
python scripts/gpu/compile.py --only siren-closed_form-32 --results FILE

For compute capability 9.0 (H100, H200), by Triton and the assembler in its package: a thread's
registers (there are 255) and bytes of stack for what does not fit them, a program's bytes of shared
memory, and seconds of compilation. Nothing is said about speed.
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
TYPES = {  # of arguments; all others are 32-bit integers
    **dict.fromkeys(("encoded", "targets", "coefficients", "means", "amplitudes"), "*fp32"),
    **dict.fromkeys(("rows", "trained", "first", "second", "grads", "best"), "*fp32"),
    **dict.fromkeys(("mse_of", "best_mse_of", "outputs"), "*fp32"),
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
    """Steps with every activation at the default width; with the first one all variants."""
    for activation in ACTIVATIONS:
        for readout in (ClosedFormReadout(), LearnedReadout()):
            yield steps(activation, readout, 32)
    for width in (16, 64):
        for readout in (ClosedFormReadout(), LearnedReadout()):
            yield steps(ACTIVATIONS[0], readout, width)
    yield steps(ACTIVATIONS[0], ClosedFormReadout(), 32, "-edges", whole=False)
    yield steps(ACTIVATIONS[0], LearnedReadout(), 32, "-drawn", whole=False, draws=True)
    for width in (16, 32, 64):
        yield render(ACTIVATIONS[0], width)


def steps(
    activation: Activation, readout: Readout, width: int, label: str = "", **changes: bool
) -> Compilation:
    """Training steps over whole patches with the logarithmic loss, but for what is changed."""
    network = network_of(activation, readout, width)
    numbers, layout = NetworkNumbers.of(network, readout), Layout(network)
    options = {"log_loss": True, "whole": True} | changes
    kind = "closed_form" if numbers.solved else "learned"
    return Compilation(
        f"{type(activation).__name__.lower()}-{kind}-{width}{label}",
        train_blocks,
        layout.program(numbers, layout.tile(1024), **options),
        layout.options,
    )


def render(activation: Activation, width: int) -> Compilation:
    """Rendering of blocks with a learned readout."""
    readout = LearnedReadout()
    network = network_of(activation, readout, width)
    layout = Layout(network)
    return Compilation(
        f"{type(activation).__name__.lower()}-render-{width}",
        render_blocks,
        layout.program(NetworkNumbers.of(network, readout), layout.tile(1024)),
        layout.options,
    )


def network_of(activation: Activation, readout: Readout, width: int) -> BlockNetwork:
    """A network with three channels."""
    mlp = BlockMLP(CosineEncoding(8), activation, width, depth=2)
    return BlockNetwork(mlp, readout.head(signed_target=True), 3)


def source_of(compilation: Compilation) -> ASTSource:
    """What Triton compiles; pointers are aligned, as PyTorch's are."""
    signature = {name: TYPES.get(name, "i32") for name in compilation.function.arg_names}
    n_arguments = len(signature)
    constants = enumerate(compilation.program)
    return ASTSource(
        fn=compilation.function,
        signature=signature,
        constexprs={(n_arguments - 1, n): constant.value for n, constant in constants},
        attrs={
            (n,): [["tt.divisibility", 16]]
            for n, kind in enumerate(signature.values())
            if kind[0] == "*"
        },
    )


def compiled(compilation: Compilation) -> dict[str, Value]:
    """The resources that a program takes."""
    began = time.perf_counter()
    built = triton.compile(source_of(compilation), target=TARGET, options=compilation.options)
    return {
        "tile": compilation.program.tile.value,
        "warps": compilation.options["num_warps"],
        **resources(built.asm["cubin"]),
        "shared_bytes": built.metadata.shared,
        "barriers": len(re.findall(r"\bbarrier\b", built.asm["ttgir"])),
        "compile_s": time.perf_counter() - began,
    }


def resources(cubin: bytes) -> dict[str, Value]:
    """Registers and stack of a compiled program, as its disassembler reports them."""
    tool = Path(triton.__path__[0]) / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), "--dump-resource-usage", file.name]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (usage,) = re.findall(r"REG:(\d+) STACK:(\d+)", output)
    return {"registers": int(usage[0]), "stack_bytes": int(usage[1])}


if __name__ == "__main__":
    main()
