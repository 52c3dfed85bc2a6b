"""How the output layer is found: trained with the rest, or solved for at every step."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.models.heads import (
    AMPLITUDE,
    BIAS,
    FREQUENCY,
    WEIGHT,
    Head,
    LinearHead,
    ScaledSineHead,
    SigmoidHead,
)
from miner.models.parameters import Parameters

_LADDER = (1.0, 1e2, 1e4, 1e6)


@dataclass(frozen=True)
class Readout(ABC):
    """A way of finding a head's parameters."""

    @abstractmethod
    def head(self, signed_target: bool) -> Head:
        """The output layer for targets of either sign, or in the unit range."""

    @abstractmethod
    def draw(self, shapes: Mapping[str, tuple[int, ...]], generator: torch.Generator) -> Parameters:
        """Starting values, for one block, of the readout parameters that are trained."""

    @abstractmethod
    def solve(self, features: Tensor, targets: Tensor, trained: Mapping[str, Tensor]) -> Parameters:
        """All readout parameters for features `(B, H, P)` and targets `(B, C, P)`."""


@dataclass(frozen=True)
class LearnedReadout(Readout):
    """Trained by the optimiser with the hidden layers, as in MINER_pl."""

    frequency: float = 0.1

    def head(self, signed_target: bool) -> Head:
        """A sigmoid, or a scaled sine for residuals."""
        return ScaledSineHead() if signed_target else SigmoidHead()

    def draw(self, shapes: Mapping[str, tuple[int, ...]], generator: torch.Generator) -> Parameters:
        """Uniform weights and biases as in a plain linear layer; the sine's frequency if any."""
        bound = 1 / math.sqrt(shapes[WEIGHT][0])
        drawn = {
            name: bound * (2 * torch.rand(shapes[name], generator=generator) - 1)
            for name in (WEIGHT, BIAS)
        }
        if FREQUENCY in shapes:
            drawn[FREQUENCY] = torch.tensor(self.frequency)
        return drawn

    def solve(self, features: Tensor, targets: Tensor, trained: Mapping[str, Tensor]) -> Parameters:
        """What is trained already, and the amplitude that follows from the targets."""
        readout = {name: tensor for name, tensor in trained.items() if name.startswith("readout.")}
        if FREQUENCY in readout:
            readout[AMPLITUDE] = targets.abs().amax(dim=(1, 2))
        return readout


@dataclass(frozen=True)
class ClosedFormReadout(Readout):
    """W = argmin |F W - T|^2 + lambda |W|^2 at every step (variable projection).

    Golub and Pereyra 1973. The bias is not penalised. lambda is `ridge` times the mean diagonal of
    the centred Gram matrix, so it follows the features' scale. The Gram matrix is summed in the
    features' own precision and solved in float64.
    """

    ridge: float = 1e-6

    def head(self, signed_target: bool) -> Head:
        """Linear for any target."""
        return LinearHead()

    def draw(self, shapes: Mapping[str, tuple[int, ...]], generator: torch.Generator) -> Parameters:
        """Nothing: no readout parameter is trained."""
        return {}

    @torch.no_grad()
    def solve(self, features: Tensor, targets: Tensor, trained: Mapping[str, Tensor]) -> Parameters:
        """Solve by a batched Cholesky factorisation, outside autograd.

        A block whose factorisation fails is solved with a larger lambda; one that fails at every
        step of the ladder (features that are not finite) gets the mean of its targets.
        """
        n_pixels = features.shape[-1]
        mean_f = features.sum(-1).double() / n_pixels
        mean_t = targets.sum(-1).double() / n_pixels
        gram = (features @ features.transpose(1, 2)).double()
        gram -= n_pixels * mean_f.unsqueeze(2) * mean_f.unsqueeze(1)
        moment = (features @ targets.transpose(1, 2)).double()
        moment -= n_pixels * mean_f.unsqueeze(2) * mean_t.unsqueeze(1)
        weight = _ridge_solve(gram, moment, self.ridge)
        bias = mean_t - (mean_f.unsqueeze(1) @ weight).squeeze(1)
        bias = torch.where(bias.isfinite(), bias, mean_t)
        return {WEIGHT: weight.to(features.dtype), BIAS: bias.to(features.dtype)}


def _ridge_solve(gram: Tensor, moment: Tensor, ridge: float) -> Tensor:
    """Solve `(gram + lambda I) W = moment` per block, `(B, H, H)` and `(B, H, C)`."""
    penalty = ridge * gram.diagonal(dim1=1, dim2=2).mean(-1).clamp(min=1e-12)
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    factor, info = torch.linalg.cholesky_ex(gram + penalty.view(-1, 1, 1) * eye)
    weight = torch.cholesky_solve(moment, factor)
    failed = (info != 0) | ~weight.isfinite().all(dim=(1, 2))
    for rung in _LADDER[1:]:
        if not failed.any():
            break
        raised = gram[failed] + (rung * penalty[failed]).view(-1, 1, 1) * eye
        factor, info = torch.linalg.cholesky_ex(raised)
        again = torch.cholesky_solve(moment[failed], factor)
        usable = (info == 0) & again.isfinite().all(dim=(1, 2))
        weight[failed] = torch.where(usable.view(-1, 1, 1), again, 0.0)
        failed[failed.clone()] = ~usable
    return weight
