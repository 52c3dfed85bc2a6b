"""What the GPU programs' rounding costs, emulated on a CPU where rounded products can be had.

python scripts/bench_rounding.py IMAGES                rows in results/rounding.tsv

Fits pluto.jpg at 1024x1024 (IMAGES is its folder) with the default recipe in plain PyTorch three
times: with the readout solved in float64, with the operands of all gradients' products rounded to
the 10 bits of tf32 besides, and with a readout solved in float32 instead. Compares the mean PSNR of
the 1024 finest blocks: the design allows a difference of 0.05 dB. The GPU's own rows will replace
this; the interpreter of Triton does not round products.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from bench_precision import Float64Readout, mean_block_psnr
from bench_quality import reduce_pluto
from rows import ROOT, Value, append_row, provenance
from torch import Tensor

from miner.api import compose_settings
from miner.config import build_settings
from miner.fitting.kernel import EagerKernel
from miner.fitting.readout import ClosedFormReadout
from miner.fitting.steps import EagerSteps
from miner.images import open_image
from miner.models.heads import BIAS, WEIGHT
from miner.models.parameters import Parameters


def rounded(x: Tensor) -> Tensor:
    """To the nearest number with 10 bits after the first, as tf32 has them."""
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0x0FFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


class RoundedGradients(torch.autograd.Function):
    """A batched product whose gradients are products of rounded operands."""

    @staticmethod
    def forward(ctx: object, bias: Tensor, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(left, right)  # type: ignore[attr-defined]
        return torch.baddbmm(bias, left, right)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        left, right = ctx.saved_tensors  # type: ignore[attr-defined]
        less = rounded(grad)
        by_left = less @ rounded(right).transpose(1, 2)
        return grad.sum(-1, keepdim=True), by_left, rounded(left).transpose(1, 2) @ less


class RoundedSteps(EagerSteps):
    """Plain steps, but for the rounding of gradients."""

    def _forward(self, encoded: Tensor, targets: Tensor) -> tuple[Tensor, Parameters]:
        mlp = self.model.mlp
        n_blocks = len(targets)
        features = encoded.expand(n_blocks, *encoded.shape)
        for layer in range(mlp.depth):
            trained = {
                name: self._trained[f"hidden.{layer}.{name}"].view(n_blocks, 1, 1)
                for name in mlp.activation.initial()
            }
            scale = mlp.activation.scale(trained)
            weight = (self._trained[f"hidden.{layer}.weight"] * scale).transpose(1, 2)
            bias = self._trained[f"hidden.{layer}.bias"].unsqueeze(-1) * scale
            u = RoundedGradients.apply(bias, weight, features)
            features = mlp.activation(u, trained)
        solved = self.readout.solve(features, targets, self._trained)
        weight, bias = solved[WEIGHT].transpose(1, 2), solved[BIAS].unsqueeze(-1)
        outputs = RoundedGradients.apply(bias, weight, features)
        return (outputs - targets).square().mean(dim=(1, 2)), solved


@dataclass(frozen=True)
class RoundedKernel(EagerKernel):
    """A kernel of rounded steps."""

    def steps(self, *given: object) -> object:
        from miner.fitting.compacted import CompactedSteps

        return CompactedSteps(RoundedSteps(*given))


@dataclass(frozen=True)
class Float32Readout(ClosedFormReadout):
    """The solution in float32, too."""

    def solve(self, features: Tensor, targets: Tensor, known: Mapping[str, Tensor]) -> Parameters:
        double, torch.Tensor.double = torch.Tensor.double, lambda self: self
        try:
            return super().solve(features, targets, known)
        finally:
            torch.Tensor.double = double


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder with pluto.jpg")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "rounding.tsv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        reduce_pluto(arguments.images / "pluto.jpg", Path(folder) / "pluto_1024.png")
        source = open_image(f"{folder}/pluto_1024.png", 2**33)
    settings = build_settings(compose_settings({"sizing": "uniform", "fitting": {"max_steps": 150, "max_mse": 1e-9}, "pyramid": {"n_levels": 2}}))
    plain = replace(settings, kernel=EagerKernel())
    for name, s in {
        "exact": replace(plain, readout=Float64Readout()),
        "tf32": replace(plain, kernel=RoundedKernel()),
        "tf32+f32solve": replace(plain, kernel=RoundedKernel(), readout=Float32Readout()),
        "f32solve ridge1e-5": replace(plain, kernel=RoundedKernel(), readout=Float32Readout(1e-5)),
    }.items():
        print(name, mean_block_psnr(source, s), flush=True)


if __name__ == "__main__":
    main()
