"""What the optimiser lowers: a sum over blocks of a function of each block's own mean error.

A sum, so that neither the number of blocks in computation nor pruning scales a block's gradient.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Loss(ABC):
    """A function of a block's mean squared error alone."""

    @abstractmethod
    def __call__(self, mse: Tensor) -> Tensor:
        """Loss of each block, `(B,)`, of errors `(B,)`."""


@dataclass(frozen=True)
class MSELoss(Loss):
    """The error itself."""

    def __call__(self, mse: Tensor) -> Tensor:
        """`mse`."""
        return mse


@dataclass(frozen=True)
class LogMSELoss(Loss):
    """The error's logarithm: equal relative gains weigh the same early and late in a fit.

    Adam's running mean of squared gradients then stays level while the error falls by orders of
    magnitude, which would otherwise hold the steps back. `floor` bounds what a near perfect block
    weighs.
    """

    floor: float = 1e-8

    def __call__(self, mse: Tensor) -> Tensor:
        """`log(mse + floor)`."""
        return (mse + self.floor).log()
