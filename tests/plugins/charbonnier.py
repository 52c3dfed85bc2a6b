"""A robust loss: single pixels far off count less than in a square."""

from dataclasses import dataclass

from torch import Tensor

from miner.fitting.criteria import Loss
from miner.support.ranges import Positive


@dataclass(frozen=True)
class CharbonnierLoss(Loss):
    """mean(sqrt(r^2 + scale^2)) - scale (Charbonnier et al. 1994): square only below `scale`."""

    scale: Positive = 0.01

    def __call__(self, residual: Tensor, mse: Tensor) -> Tensor:
        """Mean over the block's channels and pixels."""
        return (residual.square() + self.scale**2).sqrt().mean(dim=(1, 2)) - self.scale
