"""The compiled backends."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.fitting.backend import _BYTES, _LOG, _STATE_COPIES, Backend, EagerBackend
from miner.fitting.readout import Readout
from miner.fitting.steps import BlockTrainer, CompactingTrainer, StepSettings
from miner.kernels.cpu.compiler import CompilerError
from miner.kernels.cpu.library import library
from miner.kernels.cpu.steps import CompiledTrainer, block_outputs, check_supported
from miner.kernels.ops import Network, UnsupportedError
from miner.kernels.triton.launch import Launch
from miner.models.network import BlockNetwork
from miner.models.parameters import Parameters

_ROW_COPIES = 7  # gradients besides


@dataclass(frozen=True)
class CompiledBackend(Backend):
    """Compiled for this machine: one block after another, each for many steps in a core's cache.

    Results depend neither on batching nor on the number of threads. What it does not know is left
    to `EagerBackend`, and the log says why. On a CUDA device it is `TritonBackend`.
    """

    def prepare(
        self,
        models: Sequence[BlockNetwork],
        readout: Readout,
        settings: StepSettings,
        device: torch.device,
    ) -> Backend:
        """Compile, if that was not done before; a CUDA device has a program of its own."""
        if device.type == "cuda":
            return TritonBackend().prepare(models, readout, settings, device)
        try:
            check_supported(settings)
            for model in models:
                Network.of(model, readout)
            library()
        except (UnsupportedError, CompilerError) as error:
            _LOG.warning("backend=compiled: %s; plain PyTorch takes over (slower)", error)
            return EagerBackend()
        return self

    def steps(
        self,
        model: BlockNetwork,
        readout: Readout,
        settings: StepSettings,
        encoded: Tensor,
        targets: Tensor,
        start: Parameters,
    ) -> BlockTrainer:
        """One block after another."""
        return CompactingTrainer(CompiledTrainer(model, readout, settings, encoded, targets, start))

    def outputs(self, model: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
        """One block after another."""
        return block_outputs(model, parameters, encoded)

    def max_blocks(
        self, model: BlockNetwork, n_pixels: int, max_memory_gib: float, device: torch.device
    ) -> int:
        """Bounded by targets, parameters and optimiser states; layers exist for a block at a time.

        More would only make the pause between two checks longer.
        """
        block = _BYTES * (2 * model.n_channels * n_pixels + _STATE_COPIES * model.n_parameters)
        return max(1, int(max_memory_gib * 2**30 / block))


@dataclass(frozen=True)
class TritonBackend(Backend):
    """Compiled for a CUDA device: a program for each block, for many steps in the chip's caches.

    Results depend neither on batching nor on the number of multiprocessors. What it does not know
    is left to `EagerBackend`, and the log says why. `launch` None is what suits each width.
    """

    launch: Launch | None = None

    def prepare(
        self,
        models: Sequence[BlockNetwork],
        readout: Readout,
        settings: StepSettings,
        device: torch.device,
    ) -> Backend:
        """See whether it can, and compile; what other widths take is compiled when it is run."""
        try:
            if importlib.util.find_spec("triton") is None:
                raise UnsupportedError("the package triton is missing: pip install triton")
            from miner.kernels.triton.steps import check_supported

            for model in dict.fromkeys(models):
                check_supported(model, readout, settings, device)
        except UnsupportedError as error:
            _LOG.warning("backend=compiled: %s; plain PyTorch takes over (slower)", error)
            return EagerBackend()
        return self

    def steps(
        self,
        model: BlockNetwork,
        readout: Readout,
        settings: StepSettings,
        encoded: Tensor,
        targets: Tensor,
        start: Parameters,
    ) -> BlockTrainer:
        """A program for each block, all in one launch."""
        from miner.kernels.triton.steps import TritonTrainer

        return TritonTrainer(model, readout, settings, encoded, targets, start, self.launch)

    def outputs(self, model: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
        """A program for each block, all in one launch."""
        from miner.kernels.triton.steps import block_outputs

        return block_outputs(model, parameters, encoded, self.launch)

    def max_blocks(
        self, model: BlockNetwork, n_pixels: int, max_memory_gib: float, device: torch.device
    ) -> int:
        """Bounded by targets, rows of numbers and optimiser states; layers exist in registers."""
        from miner.kernels.triton.layout import Layout

        numbers = 2 * model.n_channels * n_pixels + _ROW_COPIES * Layout.of(model).length
        return max(1, int(max_memory_gib * 2**30 / (_BYTES * numbers)))
