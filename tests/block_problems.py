"""Blocks of any network with random points and targets, their fits, small pictures, levels."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.block_fit import BlockFit, fit_blocks
from miner.fitting.criteria import (
    ConstantSchedule,
    ExponentialSchedule,
    Loss,
    MSELoss,
    NoPruning,
    Pruning,
)
from miner.fitting.device import run_fit
from miner.fitting.level_fit import LevelFit
from miner.fitting.pyramid_fit import PyramidFit
from miner.fitting.readout import ClosedFormReadout, LearnedReadout, Readout
from miner.fitting.steps import BlockProblem, BlockTrainer, OptimizerFactory, StepSettings
from miner.kernels import activations
from miner.kernels.backend import CompiledBackend
from miner.models.activations import Activation, Sine
from miner.models.encodings import CosineEncoding, Encoding
from miner.models.network import BlockMLP, BlockNetwork, Parameters, repeat, select
from miner.representation import Representation, Shard
from miner.support.communication import SINGLE_PROCESS, Communicator, gather_items

CPU = torch.device("cpu")
ACTIVATIONS = tuple(op.of() for op in activations.ACTIVATIONS)
READOUTS: dict[str, tuple[Readout, bool]] = {  # and whether its targets are signed
    "closed_form": (ClosedFormReadout(), True),
    "sigmoid": (LearnedReadout(), False),
    "scaled_sine": (LearnedReadout(), True),
}
PLAIN_ADAM = partial(torch.optim.Adam, lr=5e-3)
NEVER = NoPruning(10)
SINE = Sine()


class Kind(NamedTuple):
    """A network and its readout."""

    readout: str
    activation: Activation
    encoding: Encoding
    n_axes: int
    width: int
    depth: int
    channels: int

    def __str__(self) -> str:
        names = [type(part).__name__ for part in (self.activation, self.encoding)]
        sizes = f"{self.n_axes}d-{self.width}x{self.depth}-{self.channels}"
        return "-".join([self.readout, *names, sizes])


class Problem(BlockProblem):
    """A problem that plain PyTorch solves."""

    backend: Backend = EagerBackend()

    def select(self, index: Tensor) -> "Problem":
        """The same problem for some of the blocks."""
        return self._replace(targets=self.targets[index], start=select(self.start, index))

    def with_steps(self, **changes: Any) -> "Problem":
        """The same problem with other step settings."""
        return self._replace(steps=replace(self.steps, **changes))

    def single(self, device: torch.device = CPU) -> "Problem":
        """The same problem in float32, on a device."""
        return self._replace(
            encoded=self.encoded.to(device, torch.float32),
            targets=self.targets.to(device, torch.float32),
            start={name: t.to(device, torch.float32) for name, t in self.start.items()},
        )

    def compiled(self) -> "CompiledProblem":
        """The same problem in float32, for the compiled steps."""
        return CompiledProblem(*self.single())

    def trainer(self) -> BlockTrainer:
        return self.backend.trainer(self)

    def fit(
        self,
        pruning: Pruning = NEVER,
        max_mse: float = 1e-4,
        on_steps: Callable[[int], None] = lambda n: None,
        backend: Backend | None = None,
    ) -> BlockFit:
        return run_fit(fit_blocks(backend or self.backend, self, pruning, max_mse, on_steps))

    def measured(self, parameters: Parameters) -> Tensor:
        """Each block's error by the network's own outputs."""
        outputs = self.network.outputs(parameters, self.encoded)
        return (outputs - self.targets).square().mean(dim=(1, 2))


class CompiledProblem(Problem):
    """A problem that the compiled steps solve."""

    backend = CompiledBackend()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def problem_of(
    kind: Kind,
    n_pixels: int,
    n_blocks: int = 3,
    n_steps: int = 8,
    loss: Loss | None = None,
    optimizer: OptimizerFactory = PLAIN_ADAM,
    seed: int = 0,
) -> Problem:
    """A problem in float64 whose numbers float32 holds exactly."""
    readout, signed = READOUTS[kind.readout]
    mlp = BlockMLP(kind.encoding, kind.activation, kind.width, kind.depth)
    network = BlockNetwork(mlp, readout.head(signed), kind.channels, kind.n_axes)
    generator = torch.Generator().manual_seed(seed)
    shapes = network.head.shapes(kind.width, kind.channels)
    drawn = mlp.draw(network.n_inputs, generator) | readout.draw(shapes, generator)
    start = {
        name: (tensor * (0.8 + 0.4 * noise(*tensor.shape, seed=seed + n))).double()
        for n, (name, tensor) in enumerate(repeat(drawn, n_blocks).items())
    }
    points = 2 * noise(kind.n_axes, n_pixels, seed=seed) - 1
    waves = (4 * noise(n_blocks, kind.channels, kind.n_axes, seed=seed + 1)) @ points
    targets = 0.4 * waves.sin() + (0.0 if signed else 0.5)
    schedule = ExponentialSchedule(0.9)
    steps = StepSettings(n_steps, optimizer, schedule, loss or MSELoss(), None, key=(seed,))
    encoded = kind.encoding(points).double()
    return Problem(network, readout, steps, encoded, targets.double(), start)


def problem(
    readout: str = "closed_form", activation: Activation = SINE, n_blocks: int = 12
) -> Problem:
    """Blocks of 36 pixels with two channels, each with a start of its own."""
    kind = Kind(readout, activation, CosineEncoding(3), n_axes=2, width=5, depth=2, channels=2)
    adam = partial(torch.optim.Adam, lr=2e-3, betas=(0.9, 0.99))
    plain = {"schedule": ConstantSchedule(), "key": (0, 0, "pixels")}
    return problem_of(kind, 36, n_blocks, n_steps=20, optimizer=adam).with_steps(**plain)


def smooth(*sides: int) -> Tensor:
    """A picture that tiny networks fit easily."""
    axes = torch.meshgrid(*(torch.arange(side) / 16 for side in sides), indexing="ij")
    return 0.5 + 0.4 * torch.stack([sum(axes).sin(), sum(axes).cos()])


def flat_and_busy(*sides: int) -> Tensor:
    """A picture that is smooth on the left and noisier and noisier to the right."""
    ramp = torch.linspace(-0.5, 1, sides[-1]).clamp(min=0)
    return 0.5 * smooth(*sides) + 0.5 * ramp * noise(2, *sides)


def stored(representation: Representation) -> list[Tensor]:
    """All tensors of a representation, in one order."""
    return [
        tensor
        for _, shards in sorted(representation.shards.items())
        for shard in shards
        for tensor in (
            *(shard.blocks, shard.frames, shard.widths),
            *(own[name] for _, own in sorted(shard.stored.items()) for name in sorted(own)),
        )
    ]


def same_bits(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def render(
    running: PyramidFit,
    level: LevelFit,
    shards: list[Shard],
    ranks: Communicator = SINGLE_PROCESS,
) -> list[Tensor]:
    """Render a level that is fitted; gives all its tiles."""
    running.start_rendering(level, shards)
    own = [running.render(region, box) for region, box, _ in running.level_tiles()]
    tiles = gather_items(ranks, own)
    running.finish_level()
    return tiles


def finish(running: PyramidFit, level: LevelFit) -> list[Shard]:
    """Fit all chunks of a level, render it, and return its shards."""
    shards = [level.fit_chunk(chunk) for chunk in range(len(level.chunks))]
    render(running, level, shards)
    return shards


def fit_levels(running: PyramidFit) -> Representation:
    """Fit all levels."""
    levels = reversed(range(running.spec.n_levels))
    shards = {level: finish(running, running.start_level(level)) for level in levels}
    return Representation(running.spec, shards)
