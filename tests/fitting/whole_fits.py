"""Pictures, and what whole fits of them are compared by."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from block_problems import noise
from torch import Tensor

from miner.fitting.backend import Backend
from miner.fitting.capacity import Capacity, TargetErrorCapacity, WidthRequest
from miner.fitting.steps import BlockProblem, BlockTrainer
from miner.models.network import Parameters
from miner.pyramids.pyramid import LaplacianPyramid
from miner.representation import Representation

RAGGED = [(1, 1), (1, 19), (19, 1), (2, 3), (13, 7), (17, 31), (8, 9), (3, 5, 7), (1, 1, 11)]
SINGLE = LaplacianPyramid(1)


def smooth(*sides: int) -> Tensor:
    """A picture that tiny networks fit easily."""
    axes = torch.meshgrid(*(torch.arange(side) / 16 for side in sides), indexing="ij")
    return 0.5 + 0.4 * torch.stack([sum(axes).sin(), sum(axes).cos()])


def flat_and_busy(*sides: int) -> Tensor:
    """A picture that is smooth on the left and noisier and noisier to the right."""
    ramp = torch.linspace(-0.5, 1, sides[-1]).clamp(min=0)
    return 0.5 * smooth(*sides) + 0.5 * ramp * noise(2, *sides)


def mse(signal: Tensor, representation: Representation) -> float:
    return float((representation.reconstruct() - signal).square().mean())


def block_errors(representation: Representation, signal: Tensor) -> Tensor:
    error = (representation.reconstruct() - signal).square()
    return representation.spec.grid(0).block_means(error)


@dataclass(frozen=True)
class Wrapped(Backend):
    """Another backend, whose trainers `wrap` may replace when it sees what they train."""

    inner: Backend
    wrap: Callable[[BlockTrainer, BlockProblem], BlockTrainer]

    def trainer(self, problem: BlockProblem) -> BlockTrainer:
        return self.wrap(self.inner.trainer(problem), problem)

    def outputs(self, *given: Any) -> Tensor:
        return self.inner.outputs(*given)

    def max_blocks(self, *given: Any) -> int:
        return self.inner.max_blocks(*given)


class Round(NamedTuple):
    """Widths and errors of a chunk's blocks when all were fitted, and the bound that they had."""

    widths: Tensor
    mse: Tensor
    max_mse: float


@dataclass(frozen=True)
class Watched(TargetErrorCapacity):
    """Widths for a target error, and what was known after every round."""

    probe_steps: int = 5
    features_per_db: float = 4.4  # 1.1 in patches of 8 x 8
    max_width: int = 24
    rounds: list[Round] = field(default_factory=list, compare=False)

    def widen(self, widths: Tensor, mse: Tensor, request: WidthRequest) -> Tensor:
        self.rounds.append(Round(widths.clone(), mse.clone(), request.max_mse))
        return super().widen(widths, mse, request)


@dataclass(frozen=True)
class Doubled(Capacity):
    """The level's width, then twice as much, whatever came of it."""

    max_refits: int = 1

    def assign(self, request: WidthRequest) -> Tensor:
        return torch.full_like(request.n_pixels, request.width)

    def widen(self, widths: Tensor, mse: Tensor, request: WidthRequest) -> Tensor:
        return 2 * widths


def widths_of(representation: Representation, level: int = 0) -> dict[int, int]:
    return {
        block: width
        for shard in representation.shards[level]
        for block, width in zip(shard.blocks.tolist(), shard.widths.tolist(), strict=True)
    }


def networks(representation: Representation, level: int = 0) -> dict[int, Parameters]:
    return {
        int(shard.blocks[row]): {name: tensor[n] for name, tensor in own.items()}
        for shard in representation.shards[level]
        for width, own in shard.stored.items()
        for n, row in enumerate(torch.nonzero(shard.widths == width).flatten().tolist())
    }
