"""A loss that looks at the pixels around a block: it holds jumps at the borders of blocks down."""

from dataclasses import dataclass

from torch import Tensor

from miner.fitting.criteria import Loss
from miner.support.ranges import Positive


@dataclass(frozen=True)
class SeamLoss(Loss):
    """The mean square, and `weight` times that of the error's jumps across the block's borders."""

    halo = 1
    weight: Positive = 0.01

    def __call__(self, residual: Tensor, mse: Tensor) -> Tensor:
        """`residual` is (B, C, *(S + 2)): neighbours' errors around the block's."""
        axes, jumps = range(2, residual.ndim), []
        for axis in axes:
            strip = residual
            for other in axes:
                if other != axis:
                    strip = strip.narrow(other, 1, strip.shape[other] - 2)
            across = strip.diff(dim=axis).square()
            jumps += [across.select(axis, end).flatten(1).mean(1) for end in (0, -1)]
        return mse + self.weight * sum(jumps[1:], jumps[0])
