"""Which program takes the training steps: compiled for this machine, or plain PyTorch."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.fitting.readout import Readout
from miner.fitting.steps import BlockTrainer, CompactingTrainer, EagerTrainer, StepSettings
from miner.models.network import BlockNetwork
from miner.models.parameters import Parameters

_LOG = logging.getLogger(__name__)


_BYTES = 4


_CPU_LAYER_BYTES = 4 * 2**20


_LAYER_COPIES = 6  # pre-activation, activation, their gradients, two temporaries


_STATE_COPIES = 6  # parameters, two moments, the best state, and what is gathered from them


@dataclass(frozen=True)
class Backend(ABC):
    """A program for training steps; all give the same results within float rounding."""

    def prepare(
        self,
        models: Sequence[BlockNetwork],
        readout: Readout,
        settings: StepSettings,
        device: torch.device,
    ) -> "Backend":
        """The kernel that will train these networks: this one, or one that can."""
        return self

    @abstractmethod
    def steps(
        self,
        model: BlockNetwork,
        readout: Readout,
        settings: StepSettings,
        encoded: Tensor,
        targets: Tensor,
        start: Parameters,
    ) -> BlockTrainer:
        """Blocks ready to be trained, from what `EagerTrainer` takes."""

    @abstractmethod
    def outputs(self, model: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
        """Values `(B, C, P)` at encoded coordinates `(E, P)`."""

    @abstractmethod
    def max_blocks(
        self, model: BlockNetwork, n_pixels: int, max_memory_gib: float, device: torch.device
    ) -> int:
        """How many blocks to train at once: bounds memory and fits the cache, nothing else."""


@dataclass(frozen=True)
class EagerBackend(Backend):
    """Plain PyTorch: the definition, for any setting, type and device."""

    def steps(
        self,
        model: BlockNetwork,
        readout: Readout,
        settings: StepSettings,
        encoded: Tensor,
        targets: Tensor,
        start: Parameters,
    ) -> BlockTrainer:
        """All blocks by one batched operation after another."""
        return CompactingTrainer(EagerTrainer(model, readout, settings, encoded, targets, start))

    def outputs(self, model: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
        """The model's own."""
        return model.outputs(parameters, encoded)

    def max_blocks(
        self, model: BlockNetwork, n_pixels: int, max_memory_gib: float, device: torch.device
    ) -> int:
        """Bounded by all layers of all blocks and, on a CPU, by the cache."""
        layer = _BYTES * model.mlp.width * n_pixels
        within_memory = int(max_memory_gib * 2**30 / (layer * _LAYER_COPIES * model.mlp.depth))
        within_cache = _CPU_LAYER_BYTES // layer if device.type == "cpu" else within_memory
        return max(1, min(within_memory, within_cache))
