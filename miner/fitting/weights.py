"""Where a block's hidden layers start: from a draw of its own level, or from its parent."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from miner.models.parameters import Parameters, repeat, where


@dataclass(frozen=True)
class Parents:
    """The coarser blocks that cover some blocks of a level.

    `exists` `(B,)` says which parents are active and have the same shapes; rows of `hidden` and
    `frames` `(B, 1 + D)` (generation, offset) mean something only there. `parity` `(B, D)` says
    which half of its parent a block covers.
    """

    exists: Tensor
    hidden: Parameters
    frames: Tensor
    parity: Tensor


@dataclass(frozen=True)
class Start:
    """Hidden parameters `(B, ...)`, frames `(B, 1 + D)`, and which blocks start fresh `(B,)`.

    The parameters lie on the device that trains them, all else in the host's memory.
    """

    hidden: Parameters
    frames: Tensor
    is_fresh: Tensor


@dataclass(frozen=True)
class Weights(ABC):
    """A way of starting the hidden layers of a level. `inherits` False spares finding parents."""

    inherits: ClassVar[bool] = True

    @abstractmethod
    def start(self, drawn: Mapping[str, Tensor], parents: Parents) -> Start:
        """Start blocks from the level's draw for one block, or from their parents."""


@dataclass(frozen=True)
class FreshWeights(Weights):
    """Every block starts from its level's random draw."""

    inherits: ClassVar[bool] = False

    def start(self, drawn: Mapping[str, Tensor], parents: Parents) -> Start:
        """Copies of the draw."""
        return _start(drawn, parents, inherits=torch.zeros_like(parents.exists), gain=1.0)


@dataclass(frozen=True)
class SharedWeights(Weights):
    """A block starts from its parent's hidden layers, weights and biases times `gain`.

    The weight sharing of MINER's algorithm 1 (arXiv 2202.03532); its authors' code uses 0.5.
    """

    gain: float = 1.0

    def start(self, drawn: Mapping[str, Tensor], parents: Parents) -> Start:
        """Scaled copies of the parents, the draw where there is none."""
        return _start(drawn, parents, inherits=parents.exists, gain=self.gain)


@dataclass(frozen=True)
class ParentFrameWeights(Weights):
    """A block keeps its parent's hidden features exactly, by seeing its part of the parent's box.

    After `max_generations` in one frame a block starts fresh, in a frame of its own.
    """

    max_generations: int = 2

    def start(self, drawn: Mapping[str, Tensor], parents: Parents) -> Start:
        """Copies of the parents with their frames halved."""
        inherits = parents.exists & (parents.frames[:, 0] < self.max_generations)
        start = _start(drawn, parents, inherits, gain=1.0)
        generation = parents.frames[:, :1] + 1
        offset = 2 * parents.frames[:, 1:] + parents.parity
        frames = torch.cat([generation, offset], dim=1)
        return Start(start.hidden, torch.where(inherits[:, None], frames, 0), start.is_fresh)


def _start(drawn: Mapping[str, Tensor], parents: Parents, inherits: Tensor, gain: float) -> Start:
    hidden = repeat(drawn, len(inherits))
    if inherits.any():
        there = inherits.to(next(iter(hidden.values())).device)
        hidden = where(there, _scaled(parents.hidden, gain), hidden)
    return Start(hidden, torch.zeros_like(parents.frames), ~inherits)


def _scaled(hidden: Mapping[str, Tensor], gain: float) -> Parameters:
    affine = ("weight", "bias")
    return {n: t * gain if n.rsplit(".", 1)[-1] in affine else t for n, t in hidden.items()}
