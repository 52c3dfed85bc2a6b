"""What the rounding of the GPU's programs costs, emulated in PyTorch on a CPU.

python scripts/gpu/rounding.py IMAGES                       rows in results/gpu_rounding.tsv
python scripts/gpu/rounding.py IMAGES --only "sigmoid, width 40, patch 32, channels 1"

Fits the blocks of the GPU benchmark's checks in float64, in float32 and as the programs do, which
the interpreter does not show: products of parts, tensor cores that cut off what they sum, gradients
of 10 bits where the activation is a sine, the readout solved in float32, and sines of several
kinds. Differences from float64 are means of the blocks' PSNR with their standard errors, as blocks
drift apart by chance.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

sys.path.insert(0, str(Path(__file__).parents[1]))

from gpu.bench import CHECKED, Plan
from gpu.blocks import Case, blocks_of, cast, fit, settings_of
from rows import ROOT, Value, append_row, provenance

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.readout import ClosedFormReadout, ridge_solve
from miner.fitting.steps import BlockProblem, BlockTrainer, EagerTrainer
from miner.kernels.activations import ACTIVATIONS
from miner.models.activations import Finer, Sine, Siren
from miner.models.heads import BIAS, WEIGHT
from miner.models.network import BlockMLP, Parameters, select

CASES = (*Plan().checked, *(Case(kind, 10, patch_size=16) for kind in ("siren_30", "finer")))
BATCH = 2**16  # pixels at once: their layers stay in the processor's caches
SINE_STEP = 2.0**-21  # results are cut off to multiples: more than CUDA documents, and biased
PERIODS = torch.tensor(0.5 / torch.pi, dtype=torch.float32).double()
TILE = 32


def cut(x: Tensor) -> Tensor:
    """The first 10 bits after the leading one, as tensor cores read them."""
    return (x.contiguous().view(torch.int32) & -8192).view(torch.float32)


def nearest(x: Tensor) -> Tensor:
    """The nearest number of 10 bits."""
    return ((x.contiguous().view(torch.int32) + 4096) & -8192).view(torch.float32)


def product(left: Tensor, right: Tensor) -> Tensor:
    """The sum of three products of parts."""
    left_first, right_first = cut(left), cut(right)
    left_rest, right_rest = cut(left - left_first), cut(right - right_first)
    return left_rest @ right_first + left_first @ right_rest + left_first @ right_first


def sum_over_pixels(left: Tensor, right: Tensor, tile: int | None) -> Tensor:
    """A product summed 8 pixels at a time, each sum cut off; sums of tiles, if any, are rounded."""
    left_first, right_first = cut(left), cut(right)
    total = cut(left - left_first) @ right_first + left_first @ cut(right - right_first)
    n_pixels = left.shape[2]
    for first in range(0, n_pixels, tile or n_pixels):
        acc = torch.zeros_like(total, dtype=torch.float64)
        for at in range(first, min(first + (tile or n_pixels), n_pixels), 8):
            acc += left_first[:, :, at : at + 8].double() @ right_first[:, at : at + 8].double()
            acc = cut_to_float32(acc)
        total = total + acc.float()
    return total


def cut_to_float32(x: Tensor) -> Tensor:
    """Numbers of float64 without the bits that float32 has no room for."""
    return (x.view(torch.int64) & -(2**29)).view(torch.float64)


def software_sine(u: Tensor) -> tuple[Tensor, Tensor]:
    """Sine and cosine to float32."""
    return u.sin(), u.cos()


def special(u: Tensor) -> tuple[Tensor, Tensor]:
    """The special function unit's, which gets periods that are cut off to float32."""
    angle = cut_to_float32(u.double() * PERIODS).mul(2 * torch.pi)
    sine, cosine = ((part / SINE_STEP).trunc() * SINE_STEP for part in (angle.sin(), angle.cos()))
    return sine.float(), cosine.float()


Sines = Callable[[Tensor], tuple[Tensor, Tensor]]


class Product(Function):
    """`bias + left right` from parts; its gradients are rounded or of parts as well."""

    @staticmethod
    def forward(ctx: Any, bias: Tensor, left: Tensor, right: Tensor, rounds: bool) -> Tensor:
        ctx.save_for_backward(left, right)
        ctx.rounds = rounds
        return bias + product(left, right)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (grad,), (left, right) = grads, ctx.saved_tensors
        if ctx.rounds:
            by_left = nearest(grad) @ nearest(right).transpose(1, 2)
            by_right = nearest(left).transpose(1, 2) @ nearest(grad)
        else:
            by_left = product(grad, right.transpose(1, 2))
            by_right = product(left.transpose(1, 2), grad)
        return grad.sum(-1, keepdim=True), by_left, by_right, None


class SineOf(Function):
    """A sine and its derivative by one of the functions above."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, sines: Sines) -> Tensor:
        value, slope = sines(u)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return grads[0] * slope, None


class EmulatedTrainer(EagerTrainer):
    """Plain steps with the rounding of the programs."""

    def __init__(self, problem: BlockProblem, sines: Sines, tile: int | None) -> None:
        super().__init__(problem)
        self._sines, self._tile = sines, tile

    def _forward(self, encoded: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Parameters]:
        mlp, trained = self.network.model, self._trained
        assert isinstance(mlp, BlockMLP)
        rounds = next(op.tf32_gradients for op in ACTIVATIONS if op.of is type(mlp.activation))
        features = encoded.expand(len(targets), *encoded.shape)
        for layer in range(mlp.depth):
            names = mlp.activation.initial()
            numbers = {k: trained[f"hidden.{layer}.{k}"].view(-1, 1, 1) for k in names}
            scale = mlp.activation.scale(numbers)
            weight = (trained[f"hidden.{layer}.weight"] * scale).transpose(1, 2)
            bias = trained[f"hidden.{layer}.bias"].unsqueeze(-1) * scale
            u = _apply(Product, bias, weight, features, rounds)
            if isinstance(mlp.activation, Sine | Siren):
                u = (u.abs() + 1) * u if isinstance(mlp.activation, Finer) else u
                features = _apply(SineOf, u, self._sines)
            else:
                features = mlp.activation(u, numbers)
        known = self._constants | trained
        if isinstance(self.readout, ClosedFormReadout):
            solved = solution(self.readout.ridge, features.detach(), targets, self._tile)
        else:
            solved = self.readout.solve(features, targets, known)
        residual = self.network.head.outputs(features, solved) - targets
        return residual, residual.square().mean(dim=(1, 2)), solved


def _apply(function: type[Function], *given: object) -> Tensor:
    result: Tensor = function.apply(*given)
    return result


def solution(ridge: float, features: Tensor, targets: Tensor, tile: int | None) -> Parameters:
    """The readout in float32, from sums about the mean of a first tile."""
    n_pixels = features.shape[2]
    shift = features[:, :, :: -(-n_pixels // TILE)].mean(-1, keepdim=True)
    mean_t = targets.mean(-1, keepdim=True)
    f, t = features - shift, (targets - mean_t).transpose(1, 2)
    gram, moment = (sum_over_pixels(f, other, tile) for other in (f.transpose(1, 2), t))
    f_mean = f.mean(-1, keepdim=True)
    gram = gram - n_pixels * f_mean @ f_mean.transpose(1, 2)
    moment = moment - f_mean @ t.sum(1, keepdim=True)
    weight = ridge_solve(gram, moment, ridge)
    bias = (mean_t - weight.transpose(1, 2) @ (shift + f_mean)).squeeze(-1)
    return {WEIGHT: weight, BIAS: bias.where(bias.isfinite(), mean_t.squeeze(-1))}


@dataclass(frozen=True)
class EmulatedBackend(EagerBackend):
    """The steps of the programs as PyTorch emulates them."""

    sines: Sines
    tile: int | None = None

    def trainer(self, problem: BlockProblem) -> BlockTrainer:
        return EmulatedTrainer(problem, self.sines, self.tile)


def psnr_db(backend: Backend, blocks: BlockProblem) -> Tensor:
    """PSNR of each block's fit, in batches of blocks."""
    errors = []
    n_blocks, _, n_pixels = blocks.targets.shape
    for rows in torch.arange(n_blocks).split(max(1, BATCH // n_pixels)):
        some = blocks._replace(targets=blocks.targets[rows], start=select(blocks.start, rows))
        errors.append(fit(backend, some).mse.double())
    return -10 * torch.cat(errors).log10()


def compared(case: Case, images: Path, n_blocks: int, n_steps: int) -> Iterator[dict[str, Value]]:
    """Means and standard errors of the differences from float64, in dB."""
    paths = [images / name for name in CHECKED]
    blocks = blocks_of(case, paths, n_blocks, settings_of(n_steps))
    truth = psnr_db(EagerBackend(), cast(blocks, torch.float64))
    ways: Mapping[str, Backend] = {
        "float32": EagerBackend(),
        "software_sines": EmulatedBackend(software_sine),
        "special_sines": EmulatedBackend(special),
        "sums_of_tiles": EmulatedBackend(special, TILE),
    }
    if not isinstance(blocks.readout, ClosedFormReadout):  # neither sines nor sums to vary
        ways = {name: ways[name] for name in ("float32", "special_sines")}
    row: dict[str, Value] = {"case": str(case), "n_blocks": n_blocks, "n_steps": n_steps}
    for name, backend in ways.items():
        difference = psnr_db(backend, blocks) - truth
        yield row | {
            "way": name,
            "float64_db": float(truth.mean()),
            "difference_db": float(difference.mean()),
            "standard_error_db": float(difference.std() / len(difference) ** 0.5),
        }


def main() -> None:
    """Rows for each case, or for one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder with pluto.jpg and Road.jpg")
    parser.add_argument("--only", help="one case, as the benchmark names it")
    parser.add_argument("--blocks", type=int, default=Plan().n_checked)
    parser.add_argument("--steps", type=int, default=Plan().n_check_steps)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "gpu_rounding.tsv")
    options = parser.parse_args()
    for case in CASES:
        if options.only in (None, str(case)):
            for row in compared(case, options.images, options.blocks, options.steps):
                origin = provenance("python scripts/gpu/rounding.py IMAGES")
                append_row(options.results, row | origin)
                print(row, flush=True)


if __name__ == "__main__":
    main()
