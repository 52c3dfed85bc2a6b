"""A product of linear layers on the encoding: no activation, and yet not linear."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Generator, Tensor

from miner.models.network import BlockModel, Parameters
from miner.support.ranges import whole


@dataclass(frozen=True)
class ProductNetwork(BlockModel):
    """(W1 x + b1) * ... * (Wk x + bk), feature by feature, as in multiplicative filter networks."""

    n_factors: Annotated[int, whole(1, 8)] = 2

    def shapes(self, n_inputs: int) -> dict[str, tuple[int, ...]]:
        """A weight and a bias for each factor."""
        factors = range(self.n_factors)
        weights = {f"factor.{k}.weight": (n_inputs, self.width) for k in factors}
        return weights | {f"factor.{k}.bias": (self.width,) for k in factors}

    def draw(self, n_inputs: int, generator: Generator) -> Parameters:
        """Small weights, and biases of one, so that no factor is near zero."""
        return {
            name: torch.ones(shape)
            if name.endswith("bias")
            else torch.randn(shape, generator=generator) / n_inputs**0.5
            for name, shape in self.shapes(n_inputs).items()
        }

    def features(self, parameters: Mapping[str, Tensor], encoded: Tensor) -> Tensor:
        """The products."""
        factors = [
            parameters[f"factor.{k}.weight"].mT @ encoded
            + parameters[f"factor.{k}.bias"].unsqueeze(-1)
            for k in range(self.n_factors)
        ]
        return torch.stack(factors).prod(0)
