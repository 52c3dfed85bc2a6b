"""The compiled backends: C on CPUs, Triton on CUDA devices."""

import importlib.util
from dataclasses import dataclass

from torch import Tensor

from miner.fitting.backend import FLOAT_BYTES, LOG, Backend, EagerBackend
from miner.fitting.steps import BlockProblem, BlockTrainer
from miner.kernels.cpu.trainer import CompiledTrainer
from miner.kernels.ops import RowTrainer, UnsupportedError
from miner.models.network import BlockNetwork, Parameters


@dataclass(frozen=True)
class CompiledBackend(Backend):
    """Compiled for this machine; results depend neither on batching nor on threads."""

    def prepare(self, problem: BlockProblem) -> Backend:
        """Check support and compile, if that was not done before."""
        backend = TritonBackend() if problem.targets.is_cuda else self
        try:
            backend.trainer(problem).advance(0)
        except UnsupportedError as error:
            LOG.warning("backend=compiled: %s; plain PyTorch takes over (slower)", error)
            return EagerBackend().prepare(problem)
        return backend

    def trainer(self, problem: BlockProblem) -> BlockTrainer:
        """One block after another on each thread, or a program for each block on a GPU."""
        return self.kernels()(problem)

    def outputs(self, network: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
        """Computed as the steps are."""
        return self.kernels().outputs(network, parameters, encoded)

    def max_blocks(self, network: BlockNetwork, encoded: Tensor, memory_gib: float) -> int:
        """Bounded by targets, parameters and optimiser states; a block at a time has layers."""
        kernels = self.kernels()
        rows = kernels.n_rows * kernels.layout_of(network).length
        numbers = 2 * network.n_channels * encoded.shape[1] + rows
        return max(1, int(memory_gib * 2**30 / (FLOAT_BYTES * numbers)))

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
