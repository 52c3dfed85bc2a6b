"""How the output layer is found: trained with the rest, or solved for at every step."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from miner.models import heads
from miner.support.ranges import Positive
from miner.support.tensors import Generator, Parameters, Tensor

_SOLVER_FACTORS = (1.0, 1e2, 1e4, 1e6)  # on lambda: the next where a factorisation fails
_ROUNDING_FACTORS = (1.0, 10.0, 1e2, 1e3, 1e4)


@dataclass(frozen=True)
class Readout(ABC):
    """A way of finding a head's parameters."""

    @abstractmethod
    def head(self, signed_target: bool) -> heads.Head:
        """The output layer for targets of either sign, or in the unit range."""

    def draw(self, shapes: Mapping[str, tuple[int, ...]], generator: Generator) -> Parameters:
        """Starting values, for one block, of the readout parameters that are trained."""
        return {}

    def constants(self, targets: Tensor, trained: Mapping[str, Tensor]) -> Parameters:
        """Readout parameters that follow from a block's whole targets `(B, C, P)`, untrained."""
        return {}

    @abstractmethod
    def solve(self, features: Tensor, targets: Tensor, known: Mapping[str, Tensor]) -> Parameters:
        """Readout parameters for features `(B, H, P)` and targets `(B, C, P)` of some pixels."""

    def candidates(self) -> Iterator["Readout"]:
        """Ways of finding the readout of rounded features; the best, once rounded, is stored."""
        yield self


@dataclass(frozen=True)
class LearnedReadout(Readout):
    """Trained by the optimiser with the hidden layers, as in MINER_pl."""

    frequency: Positive = 0.1

    def head(self, signed_target: bool) -> heads.Head:
        """A sigmoid, or a scaled sine for residuals."""
        return heads.ScaledSineHead() if signed_target else heads.SigmoidHead()

    def draw(self, shapes: Mapping[str, tuple[int, ...]], generator: Generator) -> Parameters:
        """Weights and biases as in a plain linear layer; the sine's frequency if any."""
        import torch

        bound, names = 1 / math.sqrt(shapes[heads.WEIGHT][0]), (heads.WEIGHT, heads.BIAS)
        drawn = {k: bound * (2 * torch.rand(shapes[k], generator=generator) - 1) for k in names}
        if heads.FREQUENCY in shapes:
            drawn[heads.FREQUENCY] = torch.tensor(self.frequency)
        return drawn

    def constants(self, targets: Tensor, trained: Mapping[str, Tensor]) -> Parameters:
        """The scaled sine's amplitude: the block's largest absolute residual."""
        if heads.FREQUENCY not in trained:
            return {}
        return {heads.AMPLITUDE: targets.abs().amax(dim=(1, 2))}

    def solve(self, features: Tensor, targets: Tensor, known: Mapping[str, Tensor]) -> Parameters:
        """What is known already."""
        return {name: tensor for name, tensor in known.items() if name.startswith("readout.")}


@dataclass(frozen=True)
class ClosedFormReadout(Readout):
    """W = argmin |F W - T|^2 + lambda |W|^2 at every step (Golub and Pereyra 1973); a free bias."""

    ridge: Positive = 1e-6  # lambda over the mean diagonal of the centred Gram matrix

    def head(self, signed_target: bool) -> heads.Head:
        """Linear for any target."""
        return heads.LinearHead()

    def solve(self, features: Tensor, targets: Tensor, known: Mapping[str, Tensor]) -> Parameters:
        """Solve outside autograd; features that are not finite get the mean of their targets."""
        features, targets = features.detach(), targets.detach()
        mean_f, mean_t = features.mean(-1, keepdim=True), targets.mean(-1, keepdim=True)
        # Centred before the products: a Gram matrix of float32 has no digits to lose afterwards.
        centred = features - mean_f
        gram = (centred @ centred.transpose(1, 2)).double()
        moment = (centred @ (targets - mean_t).transpose(1, 2)).double()
        weight = ridge_solve(gram, moment, self.ridge)
        mean_f, mean_t = mean_f.squeeze(-1).double(), mean_t.squeeze(-1).double()
        bias = mean_t - (mean_f.unsqueeze(1) @ weight).squeeze(1)
        bias = bias.where(bias.isfinite(), mean_t)
        return {heads.WEIGHT: weight.to(features.dtype), heads.BIAS: bias.to(features.dtype)}

    def candidates(self) -> Iterator["Readout"]:
        """Larger and larger lambda: smaller weights lose less to rounding."""
        for factor in _ROUNDING_FACTORS:
            yield replace(self, ridge=self.ridge * factor)


def ridge_solve(gram: Tensor, moment: Tensor, ridge: float) -> Tensor:
    """Solve `(gram + lambda I) W = moment`, lambda raised where that fails, then zeros."""
    import torch

    penalty = ridge * gram.diagonal(dim1=1, dim2=2).mean(-1).clamp(min=1e-12)
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    weight, left = torch.zeros_like(moment), torch.arange(len(gram), device=gram.device)
    for scale in _SOLVER_FACTORS:
        raised = gram[left] + (scale * penalty[left]).view(-1, 1, 1) * eye
        factor, info = torch.linalg.cholesky_ex(raised)
        solved = torch.cholesky_solve(moment[left], factor)
        usable = (info == 0) & solved.isfinite().all(dim=(1, 2))
        weight[left] = torch.where(usable.view(-1, 1, 1), solved, 0.0)
        left = left[~usable]
        if not len(left):
            break
    return weight
