"""When a block leaves the training before its level ends."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pruning(ABC):
    """A criterion that is asked every `every_n_steps` steps."""

    every_n_steps: int = 10

    @abstractmethod
    def converged(self, mse: Tensor, mse_before: Tensor, max_mse: float) -> Tensor:
        """Mask `(B,)` of the blocks that are done, from their errors now and at the last check.

        `mse_before` is infinite at the first check.
        """


@dataclass(frozen=True)
class AbsoluteMSEPruning(Pruning):
    """The block's error is at most `fitting.max_mse`."""

    def converged(self, mse: Tensor, mse_before: Tensor, max_mse: float) -> Tensor:
        """`mse <= max_mse`."""
        return mse <= max_mse


@dataclass(frozen=True)
class PlateauPruning(Pruning):
    """The block's error changed by less than `min_change` since the last check (2e-7 in MINER)."""

    min_change: float = 2e-7

    def converged(self, mse: Tensor, mse_before: Tensor, max_mse: float) -> Tensor:
        """`|mse - mse_before| < min_change`."""
        return (mse - mse_before).abs() < self.min_change


@dataclass(frozen=True)
class NoPruning(Pruning):
    """Every block trains to the end; errors are still measured every `every_n_steps`."""

    def converged(self, mse: Tensor, mse_before: Tensor, max_mse: float) -> Tensor:
        """None."""
        return torch.zeros_like(mse, dtype=torch.bool)
