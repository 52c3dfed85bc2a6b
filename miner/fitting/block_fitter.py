"""Fit independent blocks that share coordinates: the numerical core. Tensors only."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.fitting.curves import Curve
from miner.fitting.kernel import Kernel
from miner.fitting.pruning import Pruning
from miner.fitting.readout import Readout
from miner.fitting.steps import StepSettings, checkpoints
from miner.models.block_model import BlockModel
from miner.models.parameters import Parameters


@dataclass(frozen=True)
class BlockFit:
    """Best state of every block `(B, ...)`, its error `(B,)`, and whether it converged early.

    `curve` holds the sum of the blocks' mean errors at each check.
    """

    parameters: Parameters
    mse: Tensor
    converged: Tensor
    curve: Curve


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
    error was measured over all its pixels.
    """
    began = time.perf_counter()
    steps = kernel.steps(model, readout, settings, encoded, targets, start)
    n_blocks = len(targets)
    result: Parameters = {}
    mse = steps.best_mse.clone()
    converged = torch.zeros(n_blocks, dtype=torch.bool, device=targets.device)
    training = torch.arange(n_blocks, device=targets.device)
    before, curve = torch.full_like(mse, torch.inf), []

    for checkpoint in checkpoints(settings.n_steps, pruning.every_n_steps):
        n_steps = checkpoint - steps.step
        steps.advance(n_steps)
        steps.measure()
        mse[training] = steps.best_mse
        total = float(mse.double().sum())
        curve.append((checkpoint, time.perf_counter() - began, total))
        on_steps(n_steps * n_blocks)
        is_last = checkpoint == settings.n_steps
        done = pruning.converged(steps.mse, before, max_mse)
        leaves = torch.ones_like(done) if is_last else done
        if leaves.any():
            best = steps.best
            result = result or {n: t.new_empty(n_blocks, *t.shape[1:]) for n, t in best.items()}
            for name, tensor in best.items():
                result[name][training[leaves]] = tensor[leaves]
        if is_last:
            break
        before = steps.mse[~done]
        converged[training[done]] = True
        training = training[~done]
        if len(training) == 0:
            on_steps((settings.n_steps - checkpoint) * n_blocks)
            break
        if done.any():
            steps.keep(torch.nonzero(~done).flatten())
    return BlockFit(result, mse, converged, tuple(curve))
