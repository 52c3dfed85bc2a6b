"""An activation that C and Triton compute, too: a class, a row of the table, a branch in Triton.

A built-in one has its class in miner/models/activations.py, its row in miner/kernels/activations.py
and its branch in `activate` of miner/kernels/triton/math.py, here in test_cauchy.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from miner.kernels.activations import ActivationOp
from miner.models.activations import Activation
from miner.support.ranges import Positive


@dataclass(frozen=True)
class Cauchy(Activation):
    """1 / (1 + (z / a)^2) with a trained width a."""

    trained_fields = ("a",)
    a: Positive = 0.5

    def scale(self, trained: Mapping[str, Tensor]) -> Tensor:
        """1 / a."""
        return 1 / trained["a"]

    def __call__(self, u: Tensor, trained: Mapping[str, Tensor]) -> Tensor:
        """1 / (1 + u^2)."""
        return 1 / (1 + u.square())


ROW = ActivationOp(Cauchy, "value = 1.0f / (1.0f + u * u); dvalue = -2.0f * u * value * value;")
