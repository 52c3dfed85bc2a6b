"""Fit a batch of blocks, find those that diverged, and join what several batches gave."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, repeat

import torch
from torch import Tensor, nn

from miner.fitting.backend import Backend
from miner.fitting.criteria import Pruning
from miner.fitting.device import Checks, mark_time, seconds_since_first
from miner.fitting.steps import BlockProblem, OptimizerFactory
from miner.models.network import Parameters, concatenate, moved, select
from miner.signals.signal import CPU
from miner.support.errors import ConfigError

RATE_OF_REFIT = 0.1  # of blocks that diverged, as a part of their first rate
Curve = tuple[tuple[int, float, float], ...]  # (steps, seconds, summed squared error) so far
OnSteps = Callable[[int], None]  # receives numbers of block steps that were done or spared


def merge_curves(curves: Sequence[Curve]) -> Curve:
    """Seconds and errors summed step by step; a fit that stopped early keeps its last values."""
    points = [(point[0], fit, *point[1:]) for fit, curve in enumerate(curves) for point in curve]
    last = [(curve[0][1], curve[0][2]) for curve in curves]
    merged: dict[int, tuple[float, float]] = {}
    for step, fit, seconds, error in sorted(points):
        last[fit] = (seconds, error)
        merged[step] = (sum(s for s, _ in last), sum(e for _, e in last))
    return tuple((step, seconds, error) for step, (seconds, error) in merged.items())


def no_longer_than(curve: Curve, seconds: float, start_s: float = 0.0) -> Curve:
    """The curve of fits, some of them concurrent, that took `seconds` from `start_s` on."""
    longest = max((at for _, at, _ in curve), default=0.0)
    factor = seconds / longest if longest > seconds else 1.0
    return tuple((step, start_s + min(factor * at, seconds), error) for step, at, error in curve)


@dataclass(frozen=True)
class BlockFit:
    """The best state of every block, its error over all pixels, and how the fit went."""

    parameters: Parameters
    mse: Tensor  # (B,), as are the masks
    converged: Tensor  # met the pruning criterion before the last step
    diverged: Tensor  # ended worse than they began
    diverged_again: Tensor  # did so at a lower rate, too
    curve: Curve  # of the sum over finite errors

    def improved_by(self, rows: Tensor, refit: "BlockFit") -> "BlockFit":
        """The better of two fits for the blocks `rows`, which `refit` has; all else stays."""
        better = refit.mse < self.mse[rows]  # false for NaN
        chosen = rows[better]
        return replace(
            self,
            parameters={
                name: tensor.index_copy(0, chosen, refit.parameters[name][better])
                for name, tensor in self.parameters.items()
            },
            mse=self.mse.index_copy(0, chosen, refit.mse[better]),
            converged=self.converged.index_copy(0, chosen, refit.converged[better]),
            diverged_again=self.diverged_again.index_copy(0, rows, refit.diverged),
        )


def join_fits(batches: Sequence[tuple[Tensor, BlockFit]]) -> BlockFit:
    """One fit of batches with block numbers `(B,)` that ran in turn, in the host's memory."""
    members, fits = zip(*batches, strict=True)
    order = torch.cat(members).argsort()
    by_block = {
        name: torch.cat([getattr(fit, name) for fit in fits]).cpu()[order]
        for name in ("mse", "converged", "diverged", "diverged_again")
    }
    parameters = select(moved(concatenate([fit.parameters for fit in fits]), CPU), order)
    return BlockFit(parameters, curve=merge_curves([fit.curve for fit in fits]), **by_block)


def has_diverged(first: Tensor, last: Tensor, max_mse: float | Tensor) -> Tensor:
    """Mask `(B,)` of blocks whose last error is not finite, or above the first and `max_mse`."""
    return ~last.isfinite() | ((last > first) & (last > max_mse))


def raise_if_most_diverged(diverged_again: Tensor, optimizer: OptimizerFactory) -> None:
    """Raise `ConfigError` if most blocks of a mask `(B,)` diverged twice."""
    n_diverged, n_blocks = int(diverged_again.sum()), len(diverged_again)
    if 2 * n_diverged <= n_blocks:
        return
    rate = float(optimizer([nn.Parameter(torch.zeros(1))]).param_groups[0]["lr"])
    raise ConfigError(
        f"optimizer.lr={rate:g}: {n_diverged} of {n_blocks} blocks diverged, and again at "
        f"{RATE_OF_REFIT * rate:g}; lower it: 0.001 to 0.05 suit most fits, or mind the constants "
        "of activation and encoding, and a loss that has no derivative somewhere"
    )


def fit_blocks(
    backend: Backend,
    problem: BlockProblem,
    pruning: Pruning,
    max_mse: float | Tensor,
    on_steps: OnSteps = lambda n: None,
) -> Checks[BlockFit]:
    """Fit one small network to each block, independently; nothing waits for the device.

    A block leaves when it satisfies the pruning criterion or its error is not finite.
    """
    settings, targets = problem.steps, problem.targets
    n_steps, n_blocks, n_values = settings.n_steps, len(targets), targets[0].numel()
    marks = [mark_time(targets.device)]
    trainer = backend.trainer(problem)
    if settings.draws_pixels(targets.shape[-1]):
        trainer.evaluate()
    else:
        trainer.advance(1)  # a step over all pixels measures the state before it
    first, before = trainer.mse.clone(), torch.full_like(trainer.mse, torch.inf)
    training = torch.ones(n_blocks, dtype=torch.bool, device=targets.device)
    converged = torch.zeros_like(training)
    sums: list[Tensor] = []
    checkpoints = [*range(pruning.every_n_steps, n_steps, pruning.every_n_steps), n_steps]
    for number, (previous, checkpoint) in enumerate(pairwise([0, *checkpoints]), start=1):
        trainer.advance(checkpoint - trainer.step)
        trainer.evaluate()
        marks.append(mark_time(targets.device))
        sums.append(torch.where(trainer.best_mse.isfinite(), trainer.best_mse, 0.0).double().sum())
        on_steps((checkpoint - previous) * n_blocks)
        if checkpoint == n_steps:
            break
        done = pruning.converged(trainer.mse, before, max_mse)
        converged |= training & done
        training &= ~done & trainer.mse.isfinite()
        before = trainer.mse.clone()
        if trainer.deactivate(~training):
            on_steps((n_steps - checkpoint) * n_blocks)
            yield from repeat(None, len(checkpoints) - number)  # what diverged waits for the others
            break
        yield
    errors = (n_values * error for error in torch.stack(sums).tolist())
    return BlockFit(
        parameters=trainer.best,
        mse=trainer.best_mse,
        converged=converged,
        diverged=has_diverged(first, trainer.mse, max_mse),
        diverged_again=torch.zeros_like(training),
        curve=tuple(zip(checkpoints, seconds_since_first(marks), errors, strict=False)),
    )
