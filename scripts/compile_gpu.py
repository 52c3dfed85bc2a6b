"""Compile the GPU's programs where there is no GPU, and say what they take of one.

python scripts/compile_gpu.py                    rows in results/gpu_programs.tsv
python scripts/compile_gpu.py --only siren-closed_form-16 --results FILE

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
from pathlib import Path

import triton
from rows import ROOT, Value, append_row, provenance
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from miner.fitting.fused.network import Network
from miner.fitting.gpu.block_step import train_blocks
from miner.fitting.gpu.launch import Launch
from miner.fitting.gpu.layout import PART, Layout
from miner.fitting.readout import ClosedFormReadout, LearnedReadout, Readout
from miner.models.activations import Finer, Gabor, Gaussian, ReLU, Siren
from miner.models.block_mlp import BlockMLP
from miner.models.block_model import BlockModel
from miner.models.encodings import CosineEncoding

TARGET = GPUTarget("cuda", 90, 32)
ACTIVATIONS = (Siren(), Gaussian(), ReLU(), Gabor(), Finer())
READOUTS = {"closed_form": ClosedFormReadout(), "learned": LearnedReadout()}
POINTERS = {
    **dict.fromkeys(("encoded", "targets", "rules", "means", "amplitudes", "trained"), "*fp32"),
    **dict.fromkeys(("first", "second", "grads", "best", "mse_of", "best_mse_of"), "*fp32"),
    **dict.fromkeys(("order", "counts"), "*i32"),
    "training": "*i8",
}
NUMBERS = dict.fromkeys(("omega", "ridge", "floor"), "fp32")


def main() -> None:
    """Compile every program whose name is asked for and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="the name of one program")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "gpu_programs.tsv")
    arguments = parser.parse_args()
    for name, model, readout in programs():
        if arguments.only in (None, name):
            row: dict[str, Value] = {"program": name, **compiled(model, readout)}
            row["triton"] = triton.__version__
            append_row(arguments.results, row | provenance("python scripts/compile_gpu.py"))
            print(row)


def programs() -> Iterator[tuple[str, BlockModel, Readout]]:
    """Names, models and readouts: every activation at the default width, the first at others."""
    for activation in ACTIVATIONS:
        for width in (16, 32, 64) if activation is ACTIVATIONS[0] else (32,):
            for kind, readout in READOUTS.items():
                mlp = BlockMLP(CosineEncoding(8), activation, width, depth=2)
                name = f"{type(activation).__name__.lower()}-{kind}-{width}"
                yield name, BlockModel(mlp, readout.head(signed_target=True), 3), readout


def compiled(model: BlockModel, readout: Readout) -> dict[str, Value]:
    """What the program for whole patches takes."""
    network, layout = Network.of(model, readout), Layout.of(model)
    launch = Launch.of_width(layout.width)
    constants: dict[str, int | bool] = {
        **layout.constants(network),
        "PART": PART,
        "SOLVED": network.solved,
        "LOG_LOSS": True,
        "DRAWS": False,
        "WHOLE": True,
        "TILE": launch.tile,
    }
    kinds = POINTERS | NUMBERS | dict.fromkeys(constants, "constexpr")
    names = train_blocks.arg_names
    source = ASTSource(
        fn=train_blocks,
        signature={name: kinds.get(name, "i32") for name in names},
        constexprs=constants,
        attrs={(n,): [["tt.divisibility", 16]] for n, name in enumerate(names) if name in POINTERS},
    )
    began = time.perf_counter()
    program = triton.compile(source, target=TARGET, options=launch.options)
    return {
        "tile": launch.tile,
        "warps": launch.warps,
        **resources(program.asm["cubin"]),
        "shared_bytes": program.metadata.shared,
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
