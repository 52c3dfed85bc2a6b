"""What the GPU programs' rounding costs, emulated in plain PyTorch.

python scripts/bench_rounding.py IMAGES                rows in results/rounding.tsv

Fits pluto.jpg at 1024x1024 (IMAGES is its folder) with several recipes twice: with the readout
solved in float64, and as the GPU's programs do it: the operands of gradients' products rounded
to 10 bits, as tensor cores take them, where a sine is the activation, and the readout solved in
float32. Gaussians are tried both ways. Compares the mean PSNR of the 1024 finest blocks: the design
allows a difference of 0.05 dB. Triton's interpreter does not round; rows of scripts/bench_gpu.py,
where there are any, count more than these.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from bench import reduce_pluto
from bench_precision import Float64Readout, mean_block_psnr
from rows import ROOT, Value, append_row, provenance
from torch import Tensor
from torch.autograd.function import FunctionCtx

from miner.api import compose_settings
from miner.config.build import build_settings
from miner.fitting.backend import EagerBackend
from miner.fitting.readout import ClosedFormReadout, ridge_solve
from miner.fitting.steps import BlockTrainer, CompactingTrainer, EagerTrainer
from miner.images import open_image
from miner.models.heads import BIAS, WEIGHT
from miner.models.parameters import Parameters

_UNIFORM = {"capacity": "uniform", "model": {"width": 16}}
RECIPES: tuple[tuple[str, bool, dict[str, Any]], ...] = (  # with rounded gradients or not
    ("default", True, {}),
    ("finer", True, {"activation": "finer", **_UNIFORM}),
    ("gaussian", True, {"activation": "gaussian", **_UNIFORM}),
    ("gaussian", False, {"activation": "gaussian", **_UNIFORM}),
)


def rounded(x: Tensor) -> Tensor:
    """To the nearest number with 10 bits after the first."""
    return ((x.contiguous().view(torch.int32) + 4096) & -8192).view(torch.float32)


class RoundedGradients(torch.autograd.Function):
    """A batched product whose gradients are products of rounded operands."""

    @staticmethod
    def forward(ctx: FunctionCtx, bias: Tensor, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(left, right)
        return torch.baddbmm(bias, left, right)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad,) = grads
        left, right = ctx.saved_tensors
        by_left = rounded(grad) @ rounded(right).transpose(1, 2)
        by_right = rounded(left).transpose(1, 2) @ rounded(grad)
        return grad.sum(-1, keepdim=True), by_left, by_right


class RoundedSteps(EagerTrainer):
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
            u = _product(bias, weight, features)
            features = mlp.activation(u, trained)
        solved = self.readout.solve(features, targets, self._trained)
        weight, bias = solved[WEIGHT].transpose(1, 2), solved[BIAS].unsqueeze(-1)
        outputs = _product(bias, weight, features)
        return (outputs - targets).square().mean(dim=(1, 2)), solved


def _product(bias: Tensor, left: Tensor, right: Tensor) -> Tensor:
    product: Tensor = RoundedGradients.apply(bias, left, right)  # type: ignore[no-untyped-call]
    return product


@dataclass(frozen=True)
class RoundedKernel(EagerBackend):
    """A kernel of rounded steps."""

    def steps(self, *given: Any) -> BlockTrainer:
        return CompactingTrainer(RoundedSteps(*given))


@dataclass(frozen=True)
class Float32Readout(ClosedFormReadout):
    """The solution in float32, too."""

    def solve(self, features: Tensor, targets: Tensor, known: Mapping[str, Tensor]) -> Parameters:
        with torch.no_grad():
            mean_f, mean_t = features.mean(-1, keepdim=True), targets.mean(-1, keepdim=True)
            centred = features - mean_f
            gram = centred @ centred.transpose(1, 2)
            moment = centred @ (targets - mean_t).transpose(1, 2)
            weight = ridge_solve(gram, moment, self.ridge)
            bias = (mean_t - weight.transpose(1, 2) @ mean_f).squeeze(-1)
            bias = torch.where(bias.isfinite(), bias, mean_t.squeeze(-1))
        return {WEIGHT: weight, BIAS: bias}


def main() -> None:
    """Fit with each recipe both ways and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder with pluto.jpg")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "rounding.tsv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        reduce_pluto(arguments.images / "pluto.jpg", Path(folder) / "pluto_1024.png")
        source = open_image(f"{folder}/pluto_1024.png", 2**33)
    for name, rounds, overrides in RECIPES:
        settings = build_settings(compose_settings(overrides))
        exact = replace(settings, backend=EagerBackend(), readout=Float64Readout())
        backend = RoundedKernel() if rounds else EagerBackend()
        as_on_a_gpu = replace(settings, backend=backend, readout=Float32Readout())
        row: dict[str, Value] = {
            "recipe": name,
            "rounded_gradients": rounds,
            "n_blocks": 1024,
            "float64_db": mean_block_psnr(source, exact),
            "rounded_db": mean_block_psnr(source, as_on_a_gpu),
        }
        append_row(arguments.results, row | provenance("python scripts/bench_rounding.py IMAGES"))
        print(row, flush=True)


if __name__ == "__main__":
    main()
