"""Where the hidden layers of blocks start: random draws, or their parents."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from miner.support.ranges import Positive, whole
from miner.support.tensors import Parameters, Tensor


class Parents(NamedTuple):
    """The coarser blocks that cover some blocks, where one of the same width `exists` `(B,)`."""

    exists: Tensor
    hidden: Parameters
    frames: Tensor  # (B, 1 + D): generation, offset
    parity: Tensor  # (B, D): the half that a block covers


@dataclass(frozen=True)
class Weights(ABC):
    """A way of starting the hidden layers of a level."""

    @abstractmethod
    def inherited(self, parents: Parents) -> Parents:
        """What blocks start from, and their frames then; the others start from the level's draw."""


@dataclass(frozen=True)
class FreshWeights(Weights):
    """Every block starts from its level's random draw."""

    def inherited(self, parents: Parents) -> Parents:
        """Nothing."""
        return parents._replace(exists=parents.exists & False, frames=0 * parents.frames)


@dataclass(frozen=True)
class SharedWeights(Weights):
    """Parents' weights and biases times `gain` (MINER's algorithm 1, arXiv 2202.03532)."""

    gain: Positive = 1.0  # 0.5 in the code of the paper's authors

    def inherited(self, parents: Parents) -> Parents:
        """The parents, scaled."""
        scaled = {k: t * self.gain if t.ndim > 1 else t for k, t in parents.hidden.items()}
        return parents._replace(hidden=scaled, frames=0 * parents.frames)


@dataclass(frozen=True)
class ParentFrameWeights(Weights):
    """A block keeps its parent's hidden features, by seeing its part of the parent's box.

    After `max_generations` in one frame a block starts fresh, with its own box.
    """

    max_generations: Annotated[int, whole(0, 16)] = 2

    def inherited(self, parents: Parents) -> Parents:
        """The parents with their frames halved."""
        generation, frames = parents.frames[:, 0], 2 * parents.frames
        frames[:, 0] = generation + 1
        frames[:, 1:] += parents.parity
        exists = parents.exists & (generation < self.max_generations)
        return parents._replace(exists=exists, frames=frames * exists[:, None])
