"""Where the hidden layers of blocks start: random draws, or their parents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

from miner.support.ranges import Positive, whole

if TYPE_CHECKING:
    from torch import Tensor

    from miner.models.network import Parameters


class Parents(NamedTuple):
    """The coarser blocks that cover some blocks, where one of the same width `exists` `(B,)`.

    Frames `(B, 1 + D)` are (generation, offset); `parity` `(B, D)` is the half that a block covers.
    """

    exists: Tensor
    hidden: Parameters
    frames: Tensor
    parity: Tensor


class InitialState(NamedTuple):
    """Hidden parameters on the device that trains them; frames and a mask `(B,)` on the host."""

    hidden: Parameters
    frames: Tensor
    is_fresh: Tensor


@dataclass(frozen=True)
class Weights(ABC):
    """A way of starting the hidden layers of a level. `inherits` False spares finding parents."""

    inherits: ClassVar[bool] = True

    @abstractmethod
    def start(self, drawn: Mapping[str, Tensor], parents: Parents) -> InitialState:
        """Start blocks from the level's draw for one block, or from their parents."""


@dataclass(frozen=True)
class FreshWeights(Weights):
    """Every block starts from its level's random draw."""

    inherits: ClassVar[bool] = False

    def start(self, drawn: Mapping[str, Tensor], parents: Parents) -> InitialState:
        """Copies of the draw."""
        return _start(drawn, parents, inherits=parents.exists & False)


@dataclass(frozen=True)
class SharedWeights(Weights):
    """Parents' layers, weights and biases times `gain` (MINER's algorithm 1, arXiv 2202.03532)."""

    gain: Positive = 1.0  # 0.5 in the code of the paper's authors

    def start(self, drawn: Mapping[str, Tensor], parents: Parents) -> InitialState:
        """Scaled copies of the parents, the draw where there is none."""
        scaled = {
            name: tensor * self.gain if name.endswith((".weight", ".bias")) else tensor
            for name, tensor in parents.hidden.items()
        }
        return _start(drawn, parents._replace(hidden=scaled), inherits=parents.exists)


@dataclass(frozen=True)
class ParentFrameWeights(Weights):
    """A block keeps its parent's hidden features, by seeing its part of the parent's box.

    After `max_generations` in one frame a block starts fresh, with its own box.
    """

    max_generations: Annotated[int, whole(0, 16)] = 2

    def start(self, drawn: Mapping[str, Tensor], parents: Parents) -> InitialState:
        """Copies of the parents with their frames halved."""
        import torch

        inherits = parents.exists & (parents.frames[:, 0] < self.max_generations)
        generation = parents.frames[:, :1] + 1
        offset = 2 * parents.frames[:, 1:] + parents.parity
        frames = torch.where(inherits[:, None], torch.cat([generation, offset], dim=1), 0)
        return _start(drawn, parents, inherits)._replace(frames=frames)


def _start(drawn: Mapping[str, Tensor], parents: Parents, inherits: Tensor) -> InitialState:
    """Copies of the parents where a mask `(B,)` holds, else of the draw; no frames."""
    from miner.models.network import repeat, where

    hidden = repeat(drawn, len(inherits))
    if inherits.any():
        device = next(iter(hidden.values())).device
        hidden = where(inherits.to(device), parents.hidden, hidden)
    return InitialState(hidden, 0 * parents.frames, ~inherits)
