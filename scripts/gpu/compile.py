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
from pathlib import Path
from typing import NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

sys.path.insert(0, str(Path(__file__).parents[1]))

from rows import ROOT, Value, append_row, provenance

from miner.fitting.readout import ClosedFormReadout, LearnedReadout
from miner.kernels.activations import ACTIVATIONS
from miner.kernels.ops import NetworkNumbers
from miner.kernels.triton.programs import render_blocks, train_blocks
from miner.kernels.triton.trainer import Layout, Program
from miner.models.activations import Activation, Siren
from miner.models.encodings import CosineEncoding
from miner.models.network import BlockMLP, BlockNetwork

TARGET = GPUTarget("cuda", 90, 32)
TYPES = {  # of arguments; all others are 32-bit integers
    **dict.fromkeys(("encoded", "targets", "coefficients", "means", "amplitudes"), "*fp32"),
    **dict.fromkeys(("rows", "trained", "first", "second", "grads", "best"), "*fp32"),
    **dict.fromkeys(("mse_of", "best_mse_of", "outputs"), "*fp32"),
    **dict.fromkeys(("order", "counts"), "*i32"),
    **dict.fromkeys(("scale", "ridge", "floor"), "fp32"),
    "training": "*i8",
    "S": Program(*["constexpr"] * len(Program._fields)),
}


class Variant(NamedTuple):
    """What a program is compiled for; kind is closed_form, learned or render."""

    activation: Activation
    kind: str
    width: int = 32
    label: str = ""

    def __str__(self) -> str:
        name = type(self.activation).__name__.lower()
        return f"{name}-{self.kind}-{self.width}{self.label}"


VARIANTS = (  # steps over whole patches with the logarithmic loss, unless the label says otherwise
    *(Variant(op.of(), kind) for op in ACTIVATIONS for kind in ("closed_form", "learned")),
    *(Variant(Siren(), kind, width) for width in (16, 64) for kind in ("closed_form", "learned")),
    Variant(Siren(), "closed_form", label="-edges"),
    Variant(Siren(), "learned", label="-drawn"),
    *(Variant(Siren(), "render", width) for width in (16, 32, 64)),
)


def main() -> None:
    """Compile every program whose name is requested and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="the name of one program")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "gpu_programs.tsv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        triton.knobs.cache.dir = cache  # an empty one
        for variant in VARIANTS:
            if arguments.only in (None, str(variant)):
                row = {"program": str(variant)} | compiled(variant) | {"triton": triton.__version__}
                append_row(arguments.results, row | provenance("python scripts/gpu/compile.py"))
                print(row)


def compiled(variant: Variant) -> dict[str, Value]:
    """The resources of a program for three channels; pointers are aligned, as PyTorch's are."""
    readout = ClosedFormReadout() if variant.kind == "closed_form" else LearnedReadout()
    mlp = BlockMLP(CosineEncoding(8), variant.activation, variant.width, depth=2)
    network = BlockNetwork(mlp, readout.head(signed_target=True), 3)
    function, options = render_blocks, {}
    if variant.kind != "render":
        function = train_blocks
        whole, draws = variant.label == "", variant.label == "-drawn"
        options = {"log_loss": True, "whole": whole, "draws": draws}
    layout = Layout(network)
    tile = layout.tile(1024)
    program = layout.program(NetworkNumbers.of(network, readout), tile, **options)
    signature = {name: TYPES.get(name, "i32") for name in function.arg_names}
    last, aligned = len(signature) - 1, [["tt.divisibility", 16]]
    source = ASTSource(
        fn=function,
        signature=signature,
        constexprs={(last, n): each.value for n, each in enumerate(program)},
        attrs={(n,): aligned for n, kind in enumerate(signature.values()) if kind[0] == "*"},
    )
    began = time.perf_counter()
    built = triton.compile(source, target=TARGET, options=layout.options)
    seconds = time.perf_counter() - began
    tool = Path(triton.__path__[0]) / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(built.asm["cubin"])
        command = [str(tool), "--dump-resource-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ((registers, stack),) = re.findall(r"REG:(\d+) STACK:(\d+)", usage)
    return {
        "tile": tile,
        "warps": layout.options["num_warps"],
        "registers": int(registers),
        "stack_bytes": int(stack),
        "shared_bytes": built.metadata.shared,
        "barriers": len(re.findall(r"\bbarrier\b", built.asm["ttgir"])),
        "compile_s": seconds,
    }


if __name__ == "__main__":
    main()
