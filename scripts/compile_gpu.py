"""Compile the GPU's programs where there is no GPU, and say what they take of one.

python scripts/compile_gpu.py                    rows in results/gpu_programs.tsv
python scripts/compile_gpu.py --only siren-closed_form-32 --results FILE

For compute capability 9.0 (H100, H200), by Triton and the assembler in its package: a thread's
registers (there are 255) and bytes of stack for what does not fit them, a program's bytes of shared
memory, and seconds of compilation. It says nothing about speed.
"""

import argparse
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from rows import ROOT, Value, append_row, provenance
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from miner.fitting.readout import ClosedFormReadout, LearnedReadout, Readout
from miner.kernels.ops import Network
from miner.kernels.triton.launch import Launch
from miner.kernels.triton.layout import PART, Layout
from miner.kernels.triton.programs import render_blocks, train_blocks
from miner.models.activations import Activation, Finer, Gabor, Gaussian, ReLU, Siren
from miner.models.encodings import CosineEncoding
from miner.models.network import BlockMLP, BlockNetwork

TARGET = GPUTarget("cuda", 90, 32)
ACTIVATIONS = (Siren(), Gaussian(), ReLU(), Gabor(), Finer())
POINTERS = {
    **dict.fromkeys(("encoded", "targets", "rules", "means", "amplitudes", "rows"), "*fp32"),
    **dict.fromkeys(("trained", "first", "second", "grads", "best"), "*fp32"),
    **dict.fromkeys(("mse_of", "best_mse_of", "outputs"), "*fp32"),
    **dict.fromkeys(("order", "counts"), "*i32"),
    "training": "*i8",
}
NUMBERS = dict.fromkeys(("omega", "ridge", "floor"), "fp32")


@dataclass(frozen=True)
class Program:
    """A Triton function with the constants it is compiled for."""

    name: str
    function: Any
    constants: dict[str, int | bool]
    launch: Launch


def main() -> None:
    """Compile every program whose name is asked for and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="the name of one program")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "gpu_programs.tsv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        triton.knobs.cache.dir = cache  # nothing is there yet
        for program in programs():
            if arguments.only in (None, program.name):
                row: dict[str, Value] = {"program": program.name, **compiled(program)}
                row["triton"] = triton.__version__
                append_row(arguments.results, row | provenance("python scripts/compile_gpu.py"))
                print(row)


def programs() -> Iterator[Program]:
    """Steps with every activation at the default width; with the first one all there is."""
    for activation in ACTIVATIONS:
        for readout in (ClosedFormReadout(), LearnedReadout()):
            yield steps(activation, readout, 32)
    for width in (16, 64):
        for readout in (ClosedFormReadout(), LearnedReadout()):
            yield steps(ACTIVATIONS[0], readout, width)
    yield steps(ACTIVATIONS[0], ClosedFormReadout(), 32, "-edges", WHOLE=False)
    yield steps(ACTIVATIONS[0], LearnedReadout(), 32, "-drawn", WHOLE=False, DRAWS=True)
    for width in (16, 32, 64):
        yield render(ACTIVATIONS[0], width)


def steps(
    activation: Activation, readout: Readout, width: int, label: str = "", **changes: bool
) -> Program:
    """Training steps over whole patches, but for what is changed."""
    model = model_of(activation, readout, width)
    network, layout = Network.of(model, readout), Layout.of(model)
    launch = Launch.of_width(layout.width)
    constants = {
        **layout.constants(network),
        "PART": PART,
        "SOLVED": network.solved,
        "LOG_LOSS": True,
        "DRAWS": False,
        "WHOLE": True,
        "TILE": launch.tile,
    }
    kind = "closed_form" if network.solved else "learned"
    name = f"{type(activation).__name__.lower()}-{kind}-{width}{label}"
    return Program(name, train_blocks, constants | changes, launch)


def render(activation: Activation, width: int) -> Program:
    """What blocks with a learned readout say."""
    readout = LearnedReadout()
    model = model_of(activation, readout, width)
    layout = Layout.of(model)
    launch = Launch.of_width(layout.width)
    constants = layout.constants(Network.of(model, readout)) | {"TILE": launch.tile}
    name = f"{type(activation).__name__.lower()}-render-{width}"
    return Program(name, render_blocks, constants, launch)


def model_of(activation: Activation, readout: Readout, width: int) -> BlockNetwork:
    """A network with three channels."""
    mlp = BlockMLP(CosineEncoding(8), activation, width, depth=2)
    return BlockNetwork(mlp, readout.head(signed_target=True), 3)


def compiled(program: Program) -> dict[str, Value]:
    """What a program takes of a device."""
    names, launch = program.function.arg_names, program.launch
    kinds = POINTERS | NUMBERS | dict.fromkeys(program.constants, "constexpr")
    source = ASTSource(
        fn=program.function,
        signature={name: kinds.get(name, "i32") for name in names},
        constexprs=program.constants,
        attrs={(n,): [["tt.divisibility", 16]] for n, name in enumerate(names) if name in POINTERS},
    )
    began = time.perf_counter()
    built = triton.compile(source, target=TARGET, options=launch.options)
    return {
        "tile": launch.tile,
        "warps": launch.warps,
        **resources(built.asm["cubin"]),
        "shared_bytes": built.metadata.shared,
        "barriers": len(re.findall(r"\bbarrier\b", built.asm["ttgir"])),
        "compile_s": time.perf_counter() - began,
    }


def resources(cubin: bytes) -> dict[str, Value]:
    """Registers and stack of a compiled program, as its disassembler reads them."""
    tool = Path(triton.__path__[0]) / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), "--dump-resource-usage", file.name]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (usage,) = re.findall(r"REG:(\d+) STACK:(\d+)", told)
    return {"registers": int(usage[0]), "stack_bytes": int(usage[1])}


if __name__ == "__main__":
    main()
