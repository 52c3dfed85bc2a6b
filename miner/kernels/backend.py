"""The compiled backends: C on CPUs, Triton on CUDA devices."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from miner.fitting.backend import FLOAT_BYTES, LOG, Backend, EagerBackend
from miner.fitting.readout import Readout
from miner.fitting.steps import BlockProblem, BlockTrainer, StepSettings
from miner.kernels.cpu.compiler import CompilerError
from miner.kernels.cpu.trainer import CompiledTrainer
from miner.kernels.ops import NetworkNumbers, RowTrainer, UnsupportedError, check_formulas
from miner.models.network import BlockNetwork, Parameters


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
        """Check support and compile, if that was not done before."""
        backend = TritonBackend() if device.type == "cuda" else self
        try:
            kernels = backend.kernels()
            check_formulas(settings)
            for network in dict.fromkeys(networks):
                NetworkNumbers.of(network, readout)
                kernels.layout_of(network)
                kernels(_one_block(network, readout, settings, device)).advance(0)
        except (UnsupportedError, CompilerError) as error:
            LOG.warning("backend=compiled: %s; plain PyTorch takes over (slower)", error)
            return EagerBackend()
        return backend

    def trainer(self, problem: BlockProblem) -> BlockTrainer:
        """One block after another on each thread, or a program for each block on a GPU."""
        return self.kernels()(problem)

    def outputs(self, network: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
        """Computed as the steps are."""
        return self.kernels().outputs(network, parameters, encoded)

    def max_blocks(
        self, network: BlockNetwork, n_pixels: int, max_memory_gib: float, device: torch.device
    ) -> int:
        """Bounded by targets, parameters and optimiser states; a block at a time has layers."""
        kernels = self.kernels()
        rows = kernels.n_rows * kernels.layout_of(network).length
        numbers = 2 * network.n_channels * n_pixels + rows
        return max(1, int(max_memory_gib * 2**30 / (FLOAT_BYTES * numbers)))

    def kernels(self) -> type[RowTrainer]:
        """The class that trains and renders blocks."""
        return CompiledTrainer


@dataclass(frozen=True)
class TritonBackend(CompiledBackend):
    """The same on a CUDA device, where other widths are compiled when they first run."""

    def kernels(self) -> type[RowTrainer]:
        """Imported late, because not every machine has Triton."""
        if importlib.util.find_spec("triton") is None:
            raise UnsupportedError("the package triton is missing: pip install triton")
        from miner.kernels.triton.trainer import TritonTrainer

        return TritonTrainer


def _one_block(
    network: BlockNetwork, readout: Readout, settings: StepSettings, device: torch.device
) -> BlockProblem:
    """A problem of any numbers, which suffices to compile."""
    shapes = network.shapes().items()
    start = {name: torch.zeros(1, *shape, device=device) for name, shape in shapes}
    encoded = torch.zeros(network.mlp.n_inputs, 64, device=device)
    targets = torch.zeros(1, network.n_channels, 64, device=device)
    return BlockProblem(network, readout, replace(settings, n_steps=1), encoded, targets, start)
