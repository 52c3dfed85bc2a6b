"""The training step of miner/fitting/steps.py by torch.compile, as a rival of the fused kernel.

Forward, ridge solution and loss are one graph, and its gradient another. The definition's loop
over larger and larger lambda depends on the data, which would break the graph: the graph solves
with the first lambda only and says whether some block needs more, and such a step, which hardly
ever comes, is taken without compilation. Adam is PyTorch's fused one, outside the graph.
"""

from collections.abc import Callable, Mapping

import torch
from problem import BETAS, EPS, LOSS, LR, READOUT, problem
from torch import Tensor, nn

from miner.models.heads import BIAS, WEIGHT
from miner.models.parameters import Parameters

_problem = problem()
_model = _problem.model


def _loss(features: Tensor, targets: Tensor, readout: Parameters) -> tuple[Tensor, Tensor]:
    """The summed loss, and each block's mean squared error."""
    mse = (_model.head.outputs(features, readout) - targets).square().mean(dim=(1, 2))
    return LOSS(mse).sum(), mse


@torch.no_grad()
def _first_solution(features: Tensor, targets: Tensor) -> tuple[Parameters, Tensor]:
    """ClosedFormReadout.solve with its first lambda, and whether that was enough for all blocks."""
    mean_f, mean_t = features.mean(-1, keepdim=True), targets.mean(-1, keepdim=True)
    centred = features - mean_f
    gram = (centred @ centred.transpose(1, 2)).double()
    moment = (centred @ (targets - mean_t).transpose(1, 2)).double()
    penalty = READOUT.ridge * gram.diagonal(dim1=1, dim2=2).mean(-1).clamp(min=1e-12)
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype)
    factor, info = torch.linalg.cholesky_ex(gram + penalty.view(-1, 1, 1) * eye)
    weight = torch.cholesky_solve(moment, factor)
    bias = mean_t.squeeze(-1) - (mean_f.squeeze(-1).double().unsqueeze(1) @ weight).squeeze(1)
    solved = (info == 0).all() & weight.isfinite().all() & bias.isfinite().all()
    return {WEIGHT: weight.to(features.dtype), BIAS: bias.to(features.dtype)}, solved


@torch.compile(fullgraph=True, dynamic=False)
def _compiled(
    trained: Mapping[str, Tensor], encoded: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and errors, right if the last result says that all blocks were solved."""
    features = _model.mlp.features(trained, encoded)
    readout, solved = _first_solution(features, targets)
    return *_loss(features, targets, readout), solved


def _uncompiled(
    trained: Mapping[str, Tensor], encoded: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    features = _model.mlp.features(trained, encoded)
    return _loss(features, targets, READOUT.solve(features, targets, trained))


class CompiledSteps:
    """Blocks in training."""

    def __init__(self) -> None:
        self.trained = {name: nn.Parameter(t.clone()) for name, t in _problem.start.items()}
        self.mse = torch.full((len(_problem.targets),), torch.inf)
        parameters = list(self.trained.values())
        self._optimizer = torch.optim.Adam(parameters, lr=LR, betas=BETAS, eps=EPS, fused=True)

    def advance(self, n_steps: int) -> None:
        """Take steps with all blocks. The first call compiles."""
        work = self.trained, _problem.encoded, _problem.targets
        for _ in range(n_steps):
            loss, mse, solved = _compiled(*work)
            if not solved:
                loss, mse = _uncompiled(*work)
            self.mse = mse.detach()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()


def build() -> Callable[[int], None]:
    """A function that takes n more steps with all blocks, on as many threads as torch has."""
    return CompiledSteps().advance
