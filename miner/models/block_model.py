"""All that a block computes: hidden layers and output head."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from miner.models.block_mlp import BlockMLP
from miner.models.heads import Head


@dataclass(frozen=True)
class BlockModel:
    """The network that every block of a level has, with parameters of its own."""

    mlp: BlockMLP
    head: Head
    n_channels: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter of one block."""
        return self.mlp.shapes() | self.head.shapes(self.mlp.width, self.n_channels)

    @property
    def n_parameters(self) -> int:
        """Numbers of one block."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def outputs(self, parameters: Mapping[str, Tensor], encoded: Tensor) -> Tensor:
        """Values `(B, C, P)` at encoded coordinates `(E, P)`."""
        return self.head.outputs(self.mlp.features(parameters, encoded), parameters)
