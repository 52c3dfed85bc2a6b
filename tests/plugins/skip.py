"""A network of two layers, the second of which sees the inputs once more."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from miner.models.network import BlockModel, Parameters


@dataclass(frozen=True)
class SkipNetwork(BlockModel):
    """g(W2 g(W1 x + b1) + V x + b2) with g the run's activation, with fixed numbers."""

    gain: float = 1.0  # of the starting weights

    def shapes(self, n_inputs: int) -> dict[str, tuple[int, ...]]:
        """Two layers, and the matrix of the connection that skips the first."""
        shapes = {"first": (n_inputs, self.width), "second": (self.width, self.width)}
        return shapes | {"skip": (n_inputs, self.width), "biases": (2, self.width)}

    def draw(self, n_inputs: int, generator: Generator) -> Parameters:
        """Normal numbers, the smaller the more are summed."""
        return {
            name: self.gain * torch.randn(shape, generator=generator) / shape[0] ** 0.5
            for name, shape in self.shapes(n_inputs).items()
        }

    def features(self, parameters: Mapping[str, Tensor], encoded: Tensor) -> Tensor:
        """Those of the second layer."""
        first, second, skip = (parameters[k].mT for k in ("first", "second", "skip"))
        biases = parameters["biases"].unsqueeze(-1)
        hidden = self._activated(first @ encoded + biases[:, 0])
        return self._activated(second @ hidden + skip @ encoded + biases[:, 1])

    def _activated(self, z: Tensor) -> Tensor:
        fixed = {k: z.new_full((1, 1, 1), value) for k, value in self.activation.initial().items()}
        return self.activation(z * self.activation.scale(fixed), fixed)
