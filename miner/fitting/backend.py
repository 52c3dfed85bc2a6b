"""Which program trains blocks: compiled for this machine, or plain PyTorch."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.fitting.readout import Readout
from miner.fitting.steps import BlockProblem, BlockTrainer, EagerTrainer, StepSettings
from miner.models.network import BlockNetwork, Parameters

LOG = logging.getLogger(__name__)
FLOAT_BYTES = 4
_CPU_LAYER_BYTES = 4 * 2**20
_LAYER_COPIES = 6  # pre-activation, activation, their gradients, two temporaries


@dataclass(frozen=True)
class Backend:
    """A program for training steps; all give the same results within float rounding.

    Here it is plain PyTorch: the definition, for any setting, type and device.
    """

    def prepare(
        self,
        networks: Sequence[BlockNetwork],
        readout: Readout,
        settings: StepSettings,
        device: torch.device,
    ) -> "Backend":
        """The backend that will train these networks: this one, or one that can."""
        return self

    def trainer(self, problem: BlockProblem) -> BlockTrainer:
        """Blocks ready to be trained, here by one batched operation after another."""
        return EagerTrainer(problem)

    def outputs(self, network: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
        """Values `(B, C, P)` at encoded coordinates `(E, P)`."""
        return network.outputs(parameters, encoded)

    def max_blocks(
        self, network: BlockNetwork, n_pixels: int, max_memory_gib: float, device: torch.device
    ) -> int:
        """How many blocks to train at once: bounds memory and fits the cache, nothing else."""
        layer = FLOAT_BYTES * network.mlp.width * n_pixels
        within_memory = int(max_memory_gib * 2**30 / (layer * _LAYER_COPIES * network.mlp.depth))
        within_cache = _CPU_LAYER_BYTES // layer if device.type == "cpu" else within_memory
        return max(1, min(within_memory, within_cache))


@dataclass(frozen=True)
class EagerBackend(Backend):
    """Plain PyTorch."""
