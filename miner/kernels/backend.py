"""The compiled backends: C on CPUs, Triton on CUDA devices."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.fitting.backend import FLOAT_BYTES, LOG, Backend, EagerBackend
from miner.fitting.readout import Readout
from miner.fitting.steps import BlockProblem, BlockTrainer, CompactingTrainer, StepSettings
from miner.kernels.cpu import trainer as cpu
from miner.kernels.cpu.compiler import CompilerError
from miner.kernels.ops import UnsupportedError
from miner.models.network import BlockNetwork
from miner.models.parameters import Parameters

_STATE_COPIES = 6  # parameters, two moments, the best state, and what is gathered from them
_ROW_COPIES = _STATE_COPIES + 1  # gradients


@dataclass(frozen=True)
class CompiledBackend(Backend):
    """Compiled for this machine: one block after another, each for many steps in a core's cache.

    Results depend neither on batching nor on the number of threads. `EagerBackend` replaces it
    where a setting is not supported, and the log says why. On a CUDA device it is `TritonBackend`.
    """

    def prepare(
        self,
        networks: Sequence[BlockNetwork],
        readout: Readout,
        settings: StepSettings,
        device: torch.device,
    ) -> Backend:
        """Compile, if that was not done before."""
        if device.type == "cuda":
            return TritonBackend().prepare(networks, readout, settings, device)
        try:
            cpu.check_supported(networks, readout, settings)
            cpu.library()
        except (UnsupportedError, CompilerError) as error:
            return _eager_because(error)
        return self

    def trainer(self, problem: BlockProblem) -> BlockTrainer:
        """One block after another."""
        return CompactingTrainer(cpu.CompiledTrainer(problem))

    def outputs(self, network: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
        """One block after another."""
        return cpu.block_outputs(network, parameters, encoded)

    def max_blocks(
        self, network: BlockNetwork, n_pixels: int, max_memory_gib: float, device: torch.device
    ) -> int:
        """Bounded by targets, parameters and optimiser states; layers exist for a block at a time.

        More would only make the pause between two checks longer.
        """
        numbers = 2 * network.n_channels * n_pixels + _STATE_COPIES * network.n_parameters
        return max(1, int(max_memory_gib * 2**30 / (FLOAT_BYTES * numbers)))


@dataclass(frozen=True)
class TritonBackend(Backend):
    """Compiled for a CUDA device: a program for each block, for many steps in the chip's caches.

    Results depend neither on batching nor on the number of multiprocessors. `EagerBackend` replaces
    it where a setting is not supported, and the log says why.
    """

    def prepare(
        self,
        networks: Sequence[BlockNetwork],
        readout: Readout,
        settings: StepSettings,
        device: torch.device,
    ) -> Backend:
        """Check support and compile; programs of other widths are compiled when they first run."""
        try:
            if importlib.util.find_spec("triton") is None:
                raise UnsupportedError("the package triton is missing: pip install triton")
            from miner.kernels.triton.trainer import check_supported

            for network in dict.fromkeys(networks):
                check_supported(network, readout, settings, device)
        except UnsupportedError as error:
            return _eager_because(error)
        return self

    def trainer(self, problem: BlockProblem) -> BlockTrainer:
        """A program for each block, all in one launch."""
        from miner.kernels.triton.trainer import TritonTrainer

        return TritonTrainer(problem)

    def outputs(self, network: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
        """A program for each block, all in one launch."""
        from miner.kernels.triton.trainer import block_outputs

        return block_outputs(network, parameters, encoded)

    def max_blocks(
        self, network: BlockNetwork, n_pixels: int, max_memory_gib: float, device: torch.device
    ) -> int:
        """Bounded by targets, rows of numbers and optimiser states; layers exist in registers."""
        from miner.kernels.triton.layout import Layout

        numbers = 2 * network.n_channels * n_pixels + _ROW_COPIES * Layout(network).length
        return max(1, int(max_memory_gib * 2**30 / (FLOAT_BYTES * numbers)))


def _eager_because(error: Exception) -> Backend:
    LOG.warning("backend=compiled: %s; plain PyTorch takes over (slower)", error)
    return EagerBackend()
