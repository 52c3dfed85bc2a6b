"""Fit independent blocks that share coordinates: the numerical core. Tensors only."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from miner.fitting.curves import Curve
from miner.fitting.divergence import has_diverged
from miner.fitting.kernel import Kernel
from miner.fitting.pruning import Pruning
from miner.fitting.readout import Readout
from miner.fitting.steps import Steps, StepSettings, checkpoints
from miner.models.block_model import BlockModel
from miner.models.parameters import Parameters


@dataclass(frozen=True)
class BlockFit:
    """Best state of every block `(B, ...)`, its error `(B,)`, and how the fit went.

    `converged` `(B,)` says which blocks met the pruning criterion before the last step, `diverged`
    `(B,)` which ended worse than they began. `curve` holds the sum of the blocks' mean errors at
    each check; a block is left out of it until it has a finite error.
    """

    parameters: Parameters
    mse: Tensor
    converged: Tensor
    diverged: Tensor
    curve: Curve

    def improved_by(self, rows: Tensor, other: "BlockFit") -> "BlockFit":
        """The better of two fits for the blocks `rows`, which `other` has; all else stays."""
        better = other.mse < self.mse[rows]  # false for NaN
        chosen = rows[better]
        return replace(
            self,
            parameters={
                name: tensor.index_copy(0, chosen, other.parameters[name][better])
                for name, tensor in self.parameters.items()
            },
            mse=self.mse.index_copy(0, chosen, other.mse[better]),
            converged=self.converged.index_copy(0, chosen, other.converged[better]),
        )


def fit_blocks(
    kernel: Kernel,
    model: BlockModel,
    readout: Readout,
    settings: StepSettings,
    pruning: Pruning,
    max_mse: float,
    encoded: Tensor,
    targets: Tensor,
    start: Parameters,
    on_steps: Callable[[int], None] = lambda n: None,
) -> BlockFit:
    """Fit one small network to each block.

    Takes encoded coordinates `(E, P)` that all blocks share, targets `(B, C, P)` and the trained
    parameters to start from, `(B, ...)`. `on_steps` is told how many block steps were done or
    spared. Blocks never influence each other; what is returned for a block is the best state whose
    error was measured over all its pixels. A block leaves the training when it meets the pruning
    criterion or its error is not finite.
    """
    began = time.perf_counter()
    steps = kernel.steps(model, readout, settings, encoded, targets, start)
    first = _errors_at_start(steps, settings, n_pixels=encoded.shape[1])
    n_blocks, taken = len(targets), 0
    result: Parameters = {}
    last, mse = first.clone(), steps.best_mse.clone()
    converged = torch.zeros(n_blocks, dtype=torch.bool, device=targets.device)
    training = torch.arange(n_blocks, device=targets.device)
    before, curve = torch.full_like(mse, torch.inf), []

    for checkpoint in checkpoints(settings.n_steps, pruning.every_n_steps):
        steps.advance(checkpoint - steps.step)
        steps.measure()
        last[training], mse[training] = steps.mse, steps.best_mse
        curve.append((checkpoint, time.perf_counter() - began, _finite_sum(mse)))
        on_steps((checkpoint - taken) * n_blocks)
        taken = checkpoint
        done = pruning.converged(steps.mse, before, max_mse)
        is_last = checkpoint == settings.n_steps
        converged[training] = done & (not is_last)
        stays = ~done & steps.mse.isfinite() & (not is_last)
        before = steps.mse[stays]
        if stays.all():
            continue
        best = steps.best
        result = result or {n: t.new_empty(n_blocks, *t.shape[1:]) for n, t in best.items()}
        for name, tensor in best.items():
            result[name][training[~stays]] = tensor[~stays]
        training = training[stays]
        if len(training) == 0:
            on_steps((settings.n_steps - checkpoint) * n_blocks)
            break
        steps.keep(torch.nonzero(stays).flatten())
    return BlockFit(result, mse, converged, has_diverged(first, last, max_mse), tuple(curve))


def _errors_at_start(steps: Steps, settings: StepSettings, n_pixels: int) -> Tensor:
    """Errors `(B,)` of the state that training starts from.

    A step over all pixels scores the state that it moves away from, so the first one is taken.
    """
    if settings.draws_pixels(n_pixels):
        steps.measure()
    else:
        steps.advance(1)
    return steps.mse


def _finite_sum(mse: Tensor) -> float:
    return float(torch.where(mse.isfinite(), mse, 0.0).double().sum())
