"""Learning rate over the steps of a level, as a factor on `optimizer.lr`."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule(ABC):
    """A factor for every step of a level."""

    @abstractmethod
    def factor(self, step: int, n_steps: int) -> float:
        """Factor at a step, counted from 0 to `n_steps - 1`."""


@dataclass(frozen=True)
class ConstantSchedule(Schedule):
    """The same rate at every step."""

    def factor(self, step: int, n_steps: int) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True)
class CosineSchedule(Schedule):
    """Half a cosine from 1 down to `final_ratio` (SGDR without restarts, arXiv 1608.03983)."""

    final_ratio: float = 0.1

    def factor(self, step: int, n_steps: int) -> float:
        """The cosine's value; a step count of 1 stays at 1."""
        progress = step / n_steps
        return self.final_ratio + (1 - self.final_ratio) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class ExponentialSchedule(Schedule):
    """Decays by a constant ratio every step, as in the MINER paper's code (0.999)."""

    decay: float = 0.999

    def factor(self, step: int, n_steps: int) -> float:
        """`decay ** step`."""
        return float(self.decay**step)
