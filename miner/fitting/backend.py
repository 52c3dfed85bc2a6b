"""Which program trains blocks: compiled for this machine, or plain PyTorch."""

import logging
from dataclasses import dataclass

from torch import Tensor

from miner.fitting.steps import BlockProblem, BlockTrainer, EagerTrainer
from miner.models.network import BlockNetwork, Parameters

LOG = logging.getLogger(__name__)
FLOAT_BYTES = 4
_CPU_LAYER_BYTES = 4 * 2**20
_LAYER_COPIES = 6  # pre-activation, activation, their gradients, two temporaries


@dataclass(frozen=True)
class Backend:
    """A program for training steps, here plain PyTorch; all agree within float rounding."""

    def prepare(self, problem: BlockProblem) -> "Backend":
        """The backend that will train blocks of this kind: this one, or one that can."""
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
