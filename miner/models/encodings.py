"""Fixed encodings of coordinates in [-1, 1], shared by all blocks and computed once."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

from miner.support.ranges import Positive, whole
from miner.support.tensors import Tensor


@dataclass(frozen=True)
class Encoding(ABC):
    """Maps coordinates `(D, P)` to inputs `(E, P)` of the first layer."""

    @abstractmethod
    def __call__(self, coordinates: Tensor) -> Tensor:
        """Encode `(D, P)` to `(E, P)`."""


@dataclass(frozen=True)
class NoEncoding(Encoding):
    """The coordinates themselves."""

    def __call__(self, coordinates: Tensor) -> Tensor:
        """Return the coordinates."""
        return coordinates


@dataclass(frozen=True)
class PositionalEncoding(Encoding):
    """sin and cos of `scale * 2^i * x` for i below `n_frequencies` (NeRF, arXiv 2003.08934)."""

    n_frequencies: Annotated[int, whole(1, 64)] = 4
    scale: Positive = math.pi / 2  # half a period over a patch; MINER_pl uses 1

    def __call__(self, coordinates: Tensor) -> Tensor:
        """Encode to all sines, then all cosines."""
        import torch

        octaves = self.scale * 2.0 ** torch.arange(self.n_frequencies).to(coordinates)
        phases = (octaves[:, None, None] * coordinates).flatten(0, 1)
        return torch.cat([phases.sin(), phases.cos()])


@dataclass(frozen=True)
class CosineEncoding(Encoding):
    """cos(k pi t) for k = 1 to `n_frequencies`, t in [0, 1] along each axis, as in the DCT."""

    n_frequencies: Annotated[int, whole(1, 64)] = 8  # k = 0 is the first layer's bias

    def __call__(self, coordinates: Tensor) -> Tensor:
        """Encode frequency by frequency."""
        import torch

        k = torch.arange(1, self.n_frequencies + 1).to(coordinates)
        t = 0.5 * (coordinates + 1)
        return (math.pi * k[:, None, None] * t).cos().flatten(0, 1)
