"""Compile the GPU's programs without a GPU, and report the resources that they take.

python scripts/gpu/compile.py                    rows in results/gpu_programs.tsv
python scripts/gpu/compile.py --only siren-closed_form-32 --launch 64 4 255 --results FILE
python scripts/gpu/compile.py --only siren-learned-32 relu-learned-32 --channels 15

For compute capability 9.0 (H100, H200): a thread's registers (there are 255) and bytes of stack for
what does not fit them, a program's bytes of shared memory, how many warps a multiprocessor holds,
and seconds of compilation. `step` is how many instructions the warps of a program issue in a step
of 1024 pixels, as far as the machine code says; those of the loops over pixels are counted by kind,
for each pixel, and the elimination's for each feature.
"""

import argparse
import re
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

sys.path.insert(0, str(Path(__file__).parents[1]))

from gpu.machine_code import KINDS, instructions, loops, programs_at_once, usage
from rows import ROOT, Value, append_row, provenance

from miner.fitting.readout import ClosedFormReadout, LearnedReadout
from miner.kernels.activations import ACTIVATIONS
from miner.kernels.ops import NetworkNumbers
from miner.kernels.triton.programs import render_blocks, train_blocks
from miner.kernels.triton.trainer import Layout, Program
from miner.models.activations import Activation, Gaussian, Siren
from miner.models.encodings import CosineEncoding
from miner.models.network import BlockMLP, BlockNetwork

TARGET = GPUTarget("cuda", 90, 32)
N_PIXELS = 1024
TYPES = {  # of arguments; all others are 32-bit integers
    **dict.fromkeys(("encoded", "targets", "coefficients", "means", "amplitudes"), "*fp32"),
    **dict.fromkeys(("rows", "trained", "first", "second", "grads", "best"), "*fp32"),
    **dict.fromkeys(("mse_of", "best_mse_of", "outputs_of"), "*fp32"),
    **dict.fromkeys(("order", "counts"), "*i32"),
    **dict.fromkeys(("scale", "ridge", "floor"), "fp32"),
    "training": "*i8",
    "S": Program(*["constexpr"] * len(Program._fields)),
}


class Variant(NamedTuple):
    """What a program is compiled for; kind is closed_form, learned, sigmoid or render."""

    activation: Activation
    kind: str
    width: int = 32
    label: str = ""
    channels: int = 3
    depth: int = 2

    def __str__(self) -> str:
        name = type(self.activation).__name__.lower()
        return f"{name}-{self.kind}-{self.width}{self.label}"


VARIANTS = (  # steps over whole patches with the logarithmic loss, unless the label says otherwise
    *(Variant(op.of(), kind) for op in ACTIVATIONS for kind in ("closed_form", "learned")),
    *(Variant(Siren(), kind, width) for width in (16, 64) for kind in ("closed_form", "learned")),
    *(Variant(Siren(), "closed_form", width, "-grey", 1) for width in (10, 20, 40)),
    Variant(Siren(), "closed_form", label="-edges"),
    Variant(Siren(), "learned", label="-drawn"),
    *(Variant(Siren(), "render", width) for width in (16, 32, 64)),
    Variant(Siren(), "closed_form", 20),
    Variant(Gaussian(), "sigmoid", 40, "-grey", 1),
    Variant(Siren(), "closed_form", label="-deep", depth=4),
    Variant(Gaussian(), "learned", 64, "-deep", depth=4),
)


def main() -> None:
    """Compile every program whose name is requested and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", help="names of programs")
    parser.add_argument("--channels", type=int, help="of all programs")
    parser.add_argument(
        "--launch", type=int, nargs=3, help="pixels of a tile, warps, registers, not the defaults"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "gpu_programs.tsv")
    arguments = parser.parse_args()
    origin = provenance(shlex.join(["python", "scripts/gpu/compile.py", *sys.argv[1:]]))
    with tempfile.TemporaryDirectory() as cache:
        triton.knobs.cache.dir = cache  # an empty one
        for variant in VARIANTS:
            if arguments.only is None or str(variant) in arguments.only:
                variant = variant._replace(channels=arguments.channels or variant.channels)
                row = {"program": str(variant)} | compiled(variant, arguments.launch)
                append_row(arguments.results, row | origin)
                print(row)


def compiled(variant: Variant, launch: Sequence[int] | None = None) -> dict[str, Value]:
    """The resources of a program; pointers are aligned, as PyTorch's are."""
    readout = ClosedFormReadout() if variant.kind == "closed_form" else LearnedReadout()
    mlp = BlockMLP(CosineEncoding(8), variant.activation, variant.width, variant.depth)
    head = readout.head(signed_target=variant.kind != "sigmoid")
    network = BlockNetwork(mlp, head, variant.channels)
    function, options = render_blocks, {}
    if variant.kind != "render":
        function = train_blocks
        whole, draws = variant.label not in ("-edges", "-drawn"), variant.label == "-drawn"
        options = {"log_loss": True, "whole": whole, "draws": draws}
    layout = Layout(network)
    options_of = layout.options
    if launch:
        options_of = options_of | {"num_warps": launch[1], "maxnreg": launch[2]}
    tile, n_warps = launch[0] if launch else layout.tile(N_PIXELS), options_of["num_warps"]
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
    built = triton.compile(source, target=TARGET, options=options_of)
    seconds = time.perf_counter() - began
    registers, stack = usage(built.asm["cubin"])
    n_programs = programs_at_once(registers, built.metadata.shared, n_warps)
    return {
        "tile": tile,
        "warps": n_warps,
        "registers": registers,
        "stack_bytes": stack,
        "shared_bytes": built.metadata.shared,
        "barriers": len(re.findall(r"\bbarrier\b", built.asm["ttgir"])),
        "compile_s": seconds,
        "triton": triton.__version__,
        "warps_at_once": n_programs * n_warps,
        **issued(built.asm["cubin"], tile, n_warps, variant.width),
    }


def issued(cubin: bytes, tile: int, n_warps: int, width: int) -> dict[str, Value]:
    """Instructions that all warps of a program issue: a step's, a pixel's by kind, a feature's."""
    found = loops(instructions(cubin))
    inner = [loop.counts for loop in found if loop.is_inner]
    pixels = [counts for counts in inner if counts["tensor"]]
    features = [n for n in inner if n["shuffle"] and not n["tensor"]] or [Counter[str]()]
    pixel = {kind: sum(n[kind] for n in pixels) * n_warps / tile for kind in (*KINDS, "integer")}
    elimination = features[0].total() * n_warps
    rest = n_warps * sum(loop.counts.total() for loop in found if loop.counts not in pixels)
    step = N_PIXELS * sum(pixel.values()) + (width - 1) * elimination + rest
    return {
        "step": step,
        "pixel": sum(pixel.values()),
        **{f"pixel_{kind}": n for kind, n in pixel.items()},
        "feature": elimination,
    }


if __name__ == "__main__":
    main()
