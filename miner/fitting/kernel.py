"""Which program takes the training steps: compiled for this machine, or plain PyTorch."""

import importlib.util
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.fitting.compacted import CompactedSteps
from miner.fitting.fused.compiler import CompilerError
from miner.fitting.fused.library import library
from miner.fitting.fused.network import Network, UnsupportedError
from miner.fitting.fused.steps import FusedSteps, block_outputs, check_supported
from miner.fitting.gpu.launch import Launch
from miner.fitting.readout import Readout
from miner.fitting.steps import EagerSteps, Steps, StepSettings
from miner.models.block_model import BlockModel
from miner.models.parameters import Parameters

_LOG = logging.getLogger(__name__)
_BYTES = 4
_CPU_LAYER_BYTES = 4 * 2**20
_LAYER_COPIES = 6  # pre-activation, activation, their gradients, two temporaries
_STATE_COPIES = 6  # parameters, two moments, the best state, and what is gathered from them
_ROW_COPIES = 7  # gradients besides


@dataclass(frozen=True)
class Kernel(ABC):
    """A program for training steps; all give the same results within float rounding."""

    def prepare(
        self,
        models: Sequence[BlockModel],
        readout: Readout,
        settings: StepSettings,
        device: torch.device,
    ) -> "Kernel":
        """The kernel that will train these networks: this one, or one that can."""
        return self

    @abstractmethod
    def steps(
        self,
        model: BlockModel,
        readout: Readout,
        settings: StepSettings,
        encoded: Tensor,
        targets: Tensor,
        start: Parameters,
    ) -> Steps:
        """Blocks ready to be trained, from what `EagerSteps` takes."""

    @abstractmethod
    def outputs(self, model: BlockModel, parameters: Parameters, encoded: Tensor) -> Tensor:
        """Values `(B, C, P)` at encoded coordinates `(E, P)`."""

    @abstractmethod
    def blocks_at_once(
        self, model: BlockModel, n_pixels: int, max_memory_gib: float, device: torch.device
    ) -> int:
        """How many blocks to train at once: bounds memory and fits the cache, nothing else."""


@dataclass(frozen=True)
class EagerKernel(Kernel):
    """Plain PyTorch: the definition, for any setting, type and device."""

    def steps(
        self,
        model: BlockModel,
        readout: Readout,
        settings: StepSettings,
        encoded: Tensor,
        targets: Tensor,
        start: Parameters,
    ) -> Steps:
        """All blocks by one batched operation after another."""
        return CompactedSteps(EagerSteps(model, readout, settings, encoded, targets, start))

    def outputs(self, model: BlockModel, parameters: Parameters, encoded: Tensor) -> Tensor:
        """The model's own."""
        return model.outputs(parameters, encoded)

    def blocks_at_once(
        self, model: BlockModel, n_pixels: int, max_memory_gib: float, device: torch.device
    ) -> int:
        """Bounded by all layers of all blocks and, on a CPU, by the cache."""
        layer = _BYTES * model.mlp.width * n_pixels
        within_memory = int(max_memory_gib * 2**30 / (layer * _LAYER_COPIES * model.mlp.depth))
        within_cache = _CPU_LAYER_BYTES // layer if device.type == "cpu" else within_memory
        return max(1, min(within_memory, within_cache))


@dataclass(frozen=True)
class FusedKernel(Kernel):
    """Compiled for this machine: one block after another, each for many steps in a core's cache.

    Results depend neither on batching nor on the number of threads. What it does not know is left
    to `EagerKernel`, and the log says why. On a CUDA device it is `TritonKernel`.
    """

    def prepare(
        self,
        models: Sequence[BlockModel],
        readout: Readout,
        settings: StepSettings,
        device: torch.device,
    ) -> Kernel:
        """Compile, if that was not done before; a CUDA device has a program of its own."""
        if device.type == "cuda":
            return TritonKernel().prepare(models, readout, settings, device)
        try:
            check_supported(settings)
            for model in models:
                Network.of(model, readout)
            library()
        except (UnsupportedError, CompilerError) as error:
            _LOG.warning("kernel=fused: %s; plain PyTorch takes over (slower)", error)
            return EagerKernel()
        return self

    def steps(
        self,
        model: BlockModel,
        readout: Readout,
        settings: StepSettings,
        encoded: Tensor,
        targets: Tensor,
        start: Parameters,
    ) -> Steps:
        """One block after another."""
        return CompactedSteps(FusedSteps(model, readout, settings, encoded, targets, start))

    def outputs(self, model: BlockModel, parameters: Parameters, encoded: Tensor) -> Tensor:
        """One block after another."""
        return block_outputs(model, parameters, encoded)

    def blocks_at_once(
        self, model: BlockModel, n_pixels: int, max_memory_gib: float, device: torch.device
    ) -> int:
        """Bounded by targets, parameters and optimiser states; layers exist for a block at a time.

        More would only make the pause between two checks longer.
        """
        block = _BYTES * (2 * model.n_channels * n_pixels + _STATE_COPIES * model.n_parameters)
        return max(1, int(max_memory_gib * 2**30 / block))


@dataclass(frozen=True)
class TritonKernel(Kernel):
    """Compiled for a CUDA device: a program for each block, for many steps in the chip's caches.

    Results depend neither on batching nor on the number of multiprocessors. What it does not know
    is left to `EagerKernel`, and the log says why. `launch` None is what suits each width.
    """

    launch: Launch | None = None

    def prepare(
        self,
        models: Sequence[BlockModel],
        readout: Readout,
        settings: StepSettings,
        device: torch.device,
    ) -> Kernel:
        """See whether it can, and compile; what other widths take is compiled when it is run."""
        try:
            if importlib.util.find_spec("triton") is None:
                raise UnsupportedError("the package triton is missing: pip install triton")
            from miner.fitting.gpu.steps import check_supported

            for model in dict.fromkeys(models):
                check_supported(model, readout, settings, device)
        except UnsupportedError as error:
            _LOG.warning("kernel=fused: %s; plain PyTorch takes over (slower)", error)
            return EagerKernel()
        return self

    def steps(
        self,
        model: BlockModel,
        readout: Readout,
        settings: StepSettings,
        encoded: Tensor,
        targets: Tensor,
        start: Parameters,
    ) -> Steps:
        """A program for each block, all in one launch."""
        from miner.fitting.gpu.steps import TritonSteps

        return TritonSteps(model, readout, settings, encoded, targets, start, self.launch)

    def outputs(self, model: BlockModel, parameters: Parameters, encoded: Tensor) -> Tensor:
        """A program for each block, all in one launch."""
        from miner.fitting.gpu.steps import block_outputs

        return block_outputs(model, parameters, encoded, self.launch)

    def blocks_at_once(
        self, model: BlockModel, n_pixels: int, max_memory_gib: float, device: torch.device
    ) -> int:
        """Bounded by targets, rows of numbers and optimiser states; layers exist in registers."""
        from miner.fitting.gpu.layout import Layout

        numbers = 2 * model.n_channels * n_pixels + _ROW_COPIES * Layout.of(model).length
        return max(1, int(max_memory_gib * 2**30 / (_BYTES * numbers)))
