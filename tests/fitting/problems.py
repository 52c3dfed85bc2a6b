"""Small fits that the tests of this folder share."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.block_fit import BlockFit, fit_blocks
from miner.fitting.capacity import UniformCapacity
from miner.fitting.criteria import ConstantSchedule, MSELoss, NoPruning, Pruning
from miner.fitting.initialization import FreshWeights
from miner.fitting.level_fit import LevelFit
from miner.fitting.pyramid_fit import PyramidFit, fit_pyramid, make_spec
from miner.fitting.readout import ClosedFormReadout, LearnedReadout, Readout
from miner.fitting.settings import FitSettings
from miner.fitting.steps import BlockProblem, StepSettings
from miner.images import PixelFormat
from miner.kernels.backend import CompiledBackend
from miner.models.activations import Activation, Sine
from miner.models.encodings import CosineEncoding
from miner.models.network import BlockMLP, BlockNetwork, Parameters, repeat, select
from miner.pyramids.pyramid import LaplacianPyramid
from miner.representation import Representation, Shard
from miner.representation.storage import Float32Storage
from miner.signals.grid import coordinates
from miner.signals.regions import whole
from miner.signals.scratch import Scratch
from miner.signals.signal import ArraySignal, Signal
from miner.signals.store import LocalSignalStore, SignalStore
from miner.support.communication import SINGLE_PROCESS, Communicator

SINE, NEVER, EAGER = Sine(), NoPruning(10), EagerBackend()
CPU = torch.device("cpu")
ADAM = partial(torch.optim.Adam, lr=2e-3, betas=(0.9, 0.99))
READOUTS = {  # readout, and whether its targets have either sign
    "closed_form": (ClosedFormReadout(), True),
    "sigmoid": (LearnedReadout(), False),
    "scaled_sine": (LearnedReadout(), True),
}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Problem:
    """Blocks of 6x6 pixels, 2 channels, smooth and in float64, each with a start of its own."""

    model: BlockNetwork
    readout: Readout
    encoded: Tensor
    targets: Tensor
    start: Parameters
    steps: StepSettings
    backend: Backend = EAGER

    def select(self, index: Tensor) -> "Problem":
        return replace(self, targets=self.targets[index], start=select(self.start, index))

    def with_steps(self, **changes: Any) -> "Problem":
        return replace(self, steps=replace(self.steps, **changes))

    def single(self) -> "Problem":
        return replace(
            self,
            encoded=self.encoded.float(),
            targets=self.targets.float(),
            start={name: tensor.float() for name, tensor in self.start.items()},
        )

    def compiled(self) -> "Problem":
        """The same problem in float32, for the compiled steps."""
        return replace(self.single(), backend=CompiledBackend())

    def block_problem(self) -> BlockProblem:
        shared = self.model, self.readout, self.steps, self.encoded
        return BlockProblem(*shared, self.targets, self.start)

    def fit(
        self,
        pruning: Pruning = NEVER,
        max_mse: float = 1e-4,
        on_steps: Callable[[int], None] = lambda n: None,
    ) -> BlockFit:
        return fit_blocks(self.backend, self.block_problem(), pruning, max_mse, on_steps)

    def measured(self, parameters: Parameters) -> Tensor:
        """Each block's error by the model's own outputs."""
        outputs = self.model.outputs(parameters, self.encoded)
        return (outputs - self.targets).square().mean(dim=(1, 2))


def problem(
    readout: str = "closed_form", activation: Activation = SINE, n_blocks: int = 12
) -> Problem:
    solver, signed = READOUTS[readout]
    model = BlockNetwork(
        BlockMLP(CosineEncoding(3), activation, width=5, depth=2), solver.head(signed), 2
    )
    generator = torch.Generator().manual_seed(0)
    drawn = model.mlp.draw(generator) | solver.draw(model.head.shapes(5, 2), generator)
    start = {
        name: tensor.double() * (0.8 + 0.4 * noise(*tensor.shape, seed=1).double())
        for name, tensor in repeat(drawn, n_blocks).items()
    }
    encoded = model.mlp.encoding(coordinates(6, (6, 6)).double())
    waves = (4 * (noise(n_blocks, 2, 6, seed=2).double() - 0.5)) @ encoded
    targets = 0.4 * waves.sin() + (0.0 if signed else 0.5)
    steps = StepSettings(20, ADAM, ConstantSchedule(), MSELoss(), None, key=(0, 0, "pixels"))
    return Problem(model, solver, encoded, targets, start, steps)


def penalty(features: Tensor, ridge: float) -> Tensor:
    """Lambda of each block: relative to the mean diagonal of the centred Gram matrix."""
    centred = features - features.mean(-1, keepdim=True)
    return ridge * centred.square().sum(-1).mean(-1)


def least_squares(features: Tensor, targets: Tensor, penalties: Tensor) -> Parameters:
    """Solve [F 1; sqrt(lambda) I 0] [W; b] = [T; 0] block by block."""
    weights, biases = [], []
    for F, T, one in zip(features, targets, penalties, strict=True):
        n = len(F)
        pixels = torch.cat([F.T, torch.ones_like(F[:1]).T], dim=1)
        ridge = torch.cat([one.sqrt() * torch.eye(n).to(F), torch.zeros(n, 1).to(F)], dim=1)
        right = torch.cat([T.T, torch.zeros(n, len(T)).to(F)])
        solution = torch.linalg.lstsq(torch.cat([pixels, ridge]), right, driver="gelsd").solution
        weights.append(solution[:-1])
        biases.append(solution[-1])
    return {"readout.weight": torch.stack(weights), "readout.bias": torch.stack(biases)}


SETTINGS = FitSettings(
    patch_size=8,
    seed=0,
    pyramid=LaplacianPyramid(2),
    activation=SINE,
    encoding=CosineEncoding(4),
    width=6,
    depth=2,
    readout=ClosedFormReadout(),
    weights=FreshWeights(),
    optimizer=partial(torch.optim.Adam, lr=2e-2, betas=(0.9, 0.99)),
    schedule=ConstantSchedule(),
    loss=MSELoss(),
    pruning=NEVER,
    storage=Float32Storage(),
    capacity=UniformCapacity(),
    backend=EAGER,
    max_mse=1e-4,
    coarse_ratio=1.0,
    max_steps=4,
    batch_pixels=None,
    blocks_per_shard=2048,
    max_memory_gib=1.0,
)


def fitter(
    signal: Tensor,
    store: SignalStore | None = None,
    ranks: Communicator = SINGLE_PROCESS,
    n_threads: int | None = None,
    **changes: Any,
) -> PyramidFit:
    """A fitter of a signal `(C, *S)` with some of `SETTINGS` changed."""
    settings = replace(SETTINGS, **changes)
    pixel_format = PixelFormat.of_values("float32", signal.shape[0])
    spec = make_spec(tuple(signal.shape[1:]), pixel_format, settings)
    store = store or LocalSignalStore(CPU, Scratch(None))
    return PyramidFit(ArraySignal(signal.numpy()), spec, settings, store, ranks, n_threads)


def finish(running: PyramidFit, level: LevelFit) -> list[Shard]:
    """Fit all chunks of a level, render it, and return its shards."""
    shards = [level.fit_chunk(chunk) for chunk in range(len(level.chunks))]
    running.finish_level(level, shards)
    return shards


def whole_of(signal: Signal) -> Tensor:
    return signal.read(whole(signal.sides))


def fit(signal: Tensor, **changes: Any) -> Representation:
    """Fit a signal `(C, *S)` with some of `SETTINGS` changed."""
    return fit_pyramid(fitter(signal, **changes))
