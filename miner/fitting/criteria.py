"""Loss, learning rate schedule and pruning criterion."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from miner.support.ranges import Count, Positive, Ratio
from miner.support.tensors import Tensor


@dataclass(frozen=True)
class Loss(ABC):
    """What the optimizer lowers for each block; autograd gives the derivative.

    With a `halo`, so many pixels of its surroundings count, too: residuals are then those of
    pixels, `(B, C, *(S + 2 * halo))`. Neighbours in the same chunk have the values of the last
    check, others those of the coarser prediction; beyond the image its edge is repeated.
    """

    halo: ClassVar[int] = 0

    @abstractmethod
    def __call__(self, residual: Tensor, mse: Tensor) -> Tensor:
        """Loss of each block, `(B,)`, of residuals `(B, C, P)` with mean squares `mse` `(B,)`."""

    def select(self, rows: Tensor) -> "Loss":
        """The loss of some of a batch's blocks."""
        return self


@dataclass(frozen=True)
class MSELoss(Loss):
    """The error itself."""

    def __call__(self, residual: Tensor, mse: Tensor) -> Tensor:
        """`mse`."""
        return mse


@dataclass(frozen=True)
class LogMSELoss(Loss):
    """The logarithm: equal relative gains weigh the same early and late in a fit."""

    floor: Positive = 1e-8  # bounds the weight of a nearly perfect block

    def __call__(self, residual: Tensor, mse: Tensor) -> Tensor:
        """`log(mse + floor)`."""
        return (mse + self.floor).log()


@dataclass(frozen=True)
class Schedule(ABC):
    """A factor for every step of a level."""

    @abstractmethod
    def factor(self, step: int, n_steps: int) -> float:
        """Factor at a step, counted from 0 to `n_steps - 1`."""


@dataclass(frozen=True)
class ConstantSchedule(Schedule):
    """The full rate at every step."""

    def factor(self, step: int, n_steps: int) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True)
class CosineSchedule(Schedule):
    """Half a cosine from 1 down to `final_ratio` (SGDR without restarts, arXiv 1608.03983)."""

    final_ratio: Ratio = 0.1

    def factor(self, step: int, n_steps: int) -> float:
        """The cosine's value; a single step has the factor 1."""
        progress = step / n_steps
        return self.final_ratio + (1 - self.final_ratio) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class ExponentialSchedule(Schedule):
    """Decays by a constant ratio every step, as in the MINER paper's code (0.999)."""

    decay: Ratio = 0.999

    def factor(self, step: int, n_steps: int) -> float:
        """`decay ** step`."""
        return float(self.decay**step)


@dataclass(frozen=True)
class Pruning(ABC):
    """A criterion that is checked every `every_n_steps` steps."""

    every_n_steps: Count = 10

    @abstractmethod
    def converged(self, mse: Tensor, mse_before: Tensor, max_mse: float | Tensor) -> Tensor:
        """Mask `(B,)` of blocks that are done; `mse_before` is infinite at the first check."""


@dataclass(frozen=True)
class AbsoluteMSEPruning(Pruning):
    """The block's error is at most `fitting.max_mse`."""

    def converged(self, mse: Tensor, mse_before: Tensor, max_mse: float | Tensor) -> Tensor:
        """`mse <= max_mse`."""
        return mse <= max_mse


@dataclass(frozen=True)
class PlateauPruning(Pruning):
    """The block's error changed by less than `min_change` since the last check (2e-7 in MINER)."""

    min_change: Positive = 2e-7

    def converged(self, mse: Tensor, mse_before: Tensor, max_mse: float | Tensor) -> Tensor:
        """`|mse - mse_before| < min_change`."""
        return (mse - mse_before).abs() < self.min_change


@dataclass(frozen=True)
class NoPruning(Pruning):
    """Every block trains to the end; errors are still measured every `every_n_steps`."""

    def converged(self, mse: Tensor, mse_before: Tensor, max_mse: float | Tensor) -> Tensor:
        """None."""
        return mse < -math.inf
