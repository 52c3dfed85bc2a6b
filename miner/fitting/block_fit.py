"""Fits that went astray: when a block has diverged, and what is said when all have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from miner.fitting.backend import Backend
from miner.fitting.best_state import Curve
from miner.fitting.criteria import Pruning
from miner.fitting.device import make_timer
from miner.fitting.optimizer import OptimizerFactory
from miner.fitting.steps import BlockProblem, BlockTrainer, StepSettings, checkpoints
from miner.models.parameters import Parameters
from miner.support.errors import DivergenceError

RATE_OF_REFIT = 0.1
"""Blocks that diverged are fitted again at this part of their rate."""


def has_diverged(first: Tensor, last: Tensor, max_mse: float) -> Tensor:
    """Mask `(B,)` of the blocks that training made worse, from their first and last errors.

    Their last error is not finite, or above both the first one and `max_mse`.
    """
    return ~last.isfinite() | ((last > first) & (last > max_mse))


def raise_if_most_diverged(diverged_again: Sequence[Tensor], optimizer: OptimizerFactory) -> None:
    """Stop a fit whose rate is too high for more than half of the blocks: it would come to nothing.

    Takes the masks `(B,)` of the groups of a chunk: which blocks diverged, and again at the lower
    rate. No masks, or empty ones, are fine. At an absurd rate the others are those whose starts
    are good enough already.

    Raises:
        DivergenceError: more than half of them did.
    """
    masks = torch.cat([torch.empty(0, dtype=torch.bool), *diverged_again])
    n_diverged = int(masks.sum())
    if 2 * n_diverged <= len(masks):
        return
    rate = float(optimizer([nn.Parameter(torch.zeros(1))]).param_groups[0]["lr"])
    advice = "lower it: 0.001 to 0.05 suit most fits"
    if rate <= 0.05:
        advice = "lower it, or mind the constants of activation and encoding"
    raise DivergenceError(
        f"optimizer.lr={rate:g}: {n_diverged} of {len(masks)} blocks diverged, and again at "
        f"{RATE_OF_REFIT * rate:g}; {advice}"
    )


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
    backend: Backend,
    problem: BlockProblem,
    pruning: Pruning,
    max_mse: float,
    on_steps: Callable[[int], None] = lambda n: None,
) -> BlockFit:
    """Fit one small network to each block, independently; nothing waits for the device.

    What is returned for a block is the best state whose error was measured over all its pixels. A
    block leaves the training when it meets the pruning criterion or its error is not finite.
    `on_steps` receives numbers of block steps that were done or spared.
    """
    settings, targets = problem.steps, problem.targets
    watch = make_timer(targets.device)
    steps = backend.trainer(problem)
    first = _errors_at_start(steps, settings, n_pixels=targets.shape[-1])
    n_blocks, taken, sums = len(targets), 0, []
    training = torch.ones(n_blocks, dtype=torch.bool, device=targets.device)
    converged, before = torch.zeros_like(training), torch.full_like(first, torch.inf)
    marks = list(checkpoints(settings.n_steps, pruning.every_n_steps))
    for checkpoint in marks:
        steps.advance(checkpoint - steps.step)
        steps.evaluate()
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
        steps.deactivate(~training)
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


def _errors_at_start(steps: BlockTrainer, settings: StepSettings, n_pixels: int) -> Tensor:
    """Errors `(B,)` of the state that training starts from.

    A step over all pixels scores the state that it moves away from, so the first one is taken.
    """
    if settings.draws_pixels(n_pixels):
        steps.evaluate()
    else:
        steps.advance(1)
    return steps.mse
