"""Fit independent blocks that share coordinates: the numerical core. Tensors only."""

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
from miner.fitting.stopwatch import stopwatch
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
    criterion or its error is not finite. Nothing here waits for the device before the end.
    """
    watch = stopwatch(targets.device)
    steps = kernel.steps(model, readout, settings, encoded, targets, start)
    first = _errors_at_start(steps, settings, n_pixels=encoded.shape[1])
    n_blocks, taken, sums = len(targets), 0, []
    training = torch.ones(n_blocks, dtype=torch.bool, device=targets.device)
    converged, before = torch.zeros_like(training), torch.full_like(first, torch.inf)
    marks = list(checkpoints(settings.n_steps, pruning.every_n_steps))
    for checkpoint in marks:
        steps.advance(checkpoint - steps.step)
        steps.measure()
        watch.mark()
        sums.append(torch.where(steps.best_mse.isfinite(), steps.best_mse, 0.0).double().sum())
        on_steps((checkpoint - taken) * n_blocks)
        taken = checkpoint
        if checkpoint == settings.n_steps:
            break
        done = pruning.converged(steps.mse, before, max_mse)
        converged |= training & done
        training &= ~done & steps.mse.isfinite()
        before = steps.mse
        steps.retire(~training)
        if steps.is_idle:
            on_steps((settings.n_steps - checkpoint) * n_blocks)
            break
    curve = zip(marks, watch.seconds(), torch.stack(sums).tolist(), strict=False)
    return BlockFit(
        parameters=steps.best,
        mse=steps.best_mse,
        converged=converged,
        diverged=has_diverged(first, steps.mse, max_mse),
        curve=tuple(curve),
    )


def _errors_at_start(steps: Steps, settings: StepSettings, n_pixels: int) -> Tensor:
    """Errors `(B,)` of the state that training starts from.

    A step over all pixels scores the state that it moves away from, so the first one is taken.
    """
    if settings.draws_pixels(n_pixels):
        steps.measure()
    else:
        steps.advance(1)
    return steps.mse
