"""Which program trains blocks: compiled for this machine, or plain PyTorch."""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.fitting.steps import BlockProblem, BlockTrainer, EagerTrainer
from miner.models.network import BlockNetwork, Parameters
from miner.support.errors import ConfigError

LOG = logging.getLogger(__name__)
FLOAT_BYTES = 4
_CPU_LAYER_BYTES = 4 * 2**20
_ALONE = "must not depend on other blocks: mind the first axis"
_LAYER_COPIES = 6  # pre-activation, activation, their gradients, two temporaries


def check_features(problem: BlockProblem) -> None:
    """Refuse, by a `ConfigError`, a network that mixes blocks or gives another shape."""
    model, start, encoded = problem.network.model, problem.start, problem.encoded
    other = {name: tensor / 2 for name, tensor in start.items()}
    both, first, second = (
        model.features({name: torch.stack([one[name][0], two[name][1]]) for name in start}, encoded)
        for one, two in ((start, start), (start, other), (other, start))
    )
    expected = 2, model.width, encoded.shape[1]
    if both.shape != expected:
        rule = f"features of 2 blocks must be (B, H, P), here {expected}, not {tuple(both.shape)}"
        raise ConfigError(f"model={model}: {rule}")
    kept = torch.stack([first[0], second[1]])
    if not torch.allclose(kept, both, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise ConfigError(f"model={model}: a block's features {_ALONE}")


def check_loss(problem: BlockProblem) -> None:
    """Refuse, by a `ConfigError`, a loss that is not a finite number of each block alone."""
    residual, name = problem.targets.clone().requires_grad_(), f"loss={problem.steps.loss}"
    mse = residual.square().mean(dim=(1, 2))
    values = problem.steps.loss(residual, mse)
    if values.shape != mse.shape:
        rule = f"must give a number for each block, {tuple(mse.shape)}, not {tuple(values.shape)}"
        raise ConfigError(f"{name}: {rule}")
    if not values.requires_grad:
        raise ConfigError(f"{name}: has no derivative; compute it from the residual, undetached")
    (gradient,) = torch.autograd.grad(values[0], residual)
    if not (values.isfinite().all() and gradient.isfinite().all()):
        raise ConfigError(f"{name}: it or its derivative is NaN for residuals from 0 to 1")
    if gradient[1].any():
        raise ConfigError(f"{name}: a block's loss {_ALONE}")


@dataclass(frozen=True)
class Backend:
    """A program for training steps, here plain PyTorch; all agree within float rounding."""

    def prepare(self, problem: BlockProblem) -> "Backend":
        """The backend that will train blocks of this kind: this one, or one that can.

        Plain PyTorch takes any class, so it tries a step of the problem, at a rate near 0, and
        raises `ConfigError` for a network or a loss that mixes blocks or gives no finite numbers.
        """
        check_features(problem)
        check_loss(problem)
        trainer = self.trainer(problem)
        trainer.advance(1)
        trainer.evaluate()
        if not trainer.mse.isfinite().all():
            given = f"loss={problem.steps.loss}, model={problem.network.model}"
            rule = "errors are NaN at the start, or after a step near 0"
            raise ConfigError(f"{given}: {rule}; mind activation, network, loss and derivatives")
        return self

    def trainer(self, problem: BlockProblem) -> BlockTrainer:
        """Blocks ready to be trained, here by one batched operation after another."""
        return EagerTrainer(problem)

    def outputs(self, network: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
        """Values `(B, C, P)` at encoded coordinates `(E, P)`."""
        return network.outputs(parameters, encoded)

    def max_blocks(self, network: BlockNetwork, encoded: Tensor, memory_gib: float) -> int:
        """How many blocks to train at once: bounds memory and fits the cache, nothing else."""
        shapes, n_bytes = network.hidden_shapes().values(), FLOAT_BYTES * encoded.shape[1]
        layers = [shape[-1] for shape in shapes if len(shape) == 2] or [network.model.width]
        in_memory = int(memory_gib * 2**30 / (n_bytes * sum(layers) * _LAYER_COPIES))
        in_cache = _CPU_LAYER_BYTES // (n_bytes * max(layers))
        return max(1, min(in_memory, in_cache) if encoded.device.type == "cpu" else in_memory)


@dataclass(frozen=True)
class EagerBackend(Backend):
    """Plain PyTorch: the definition, for any setting, type and device."""
