"""An activation that plain PyTorch fits: a class here and conf/activation/tanh.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from miner.models.activations import Activation
from miner.support.ranges import Positive


@dataclass(frozen=True)
class Tanh(Activation):
    """tanh(steepness * z)."""

    steepness: Positive = 1.0

    def scale(self, trained: Mapping[str, Tensor]) -> float:
        return self.steepness

    def __call__(self, u: Tensor, trained: Mapping[str, Tensor]) -> Tensor:
        return u.tanh()
