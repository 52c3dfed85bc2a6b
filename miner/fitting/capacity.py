"""How wide a block's network is: one width for all blocks of a level, or a width by need."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Probe = Callable[[int], Tensor]
"""Errors `(B,)` of a chunk's blocks after so many steps at the level's width."""

_TOLERANCE_DB = 0.3  # what rounding for storage may cost without another fit


@dataclass(frozen=True)
class WidthRequest:
    """What the blocks of a chunk are to do: reach `max_mse`, with `n_pixels` `(B,)` real pixels.

    A whole patch has `patch_pixels`; `width` is the level's own, `n_steps` how many steps a fit
    takes, `cost` the number of parameters of a block with a width.
    """

    width: int
    n_steps: int
    n_pixels: Tensor
    patch_pixels: int
    max_mse: float
    cost: Callable[[int], int]


@dataclass(frozen=True)
class Capacity(ABC):
    """Gives each block of a chunk a number of hidden features."""

    max_refits: int = 0
    """How often blocks are fitted again, wider, before what they have is stored."""

    @abstractmethod
    def assign(self, task: WidthRequest, probe: Probe) -> Tensor:
        """Widths `(B,)` of a chunk's blocks."""

    def widen(self, widths: Tensor, mse: Tensor, task: WidthRequest) -> Tensor:
        """Widths `(B,)` for another try of blocks whose fits ended with errors `mse`."""
        return widths


@dataclass(frozen=True)
class UniformCapacity(Capacity):
    """`model.width` for every block."""

    def assign(self, task: WidthRequest, probe: Probe) -> Tensor:
        """The level's width."""
        return torch.full_like(task.n_pixels, task.width)


@dataclass(frozen=True)
class TargetErrorCapacity(Capacity):
    """The smallest width that will bring a block to `fitting.max_mse`.

    Each block is first fitted for `probe_steps` at `model.width`. By how many decibels it misses
    the bound, less what more steps will bring (`gain_db` for ten times as many), says how many
    features more or fewer it gets, from `least` to `most`. Where that was too little the block is
    fitted again, wider.

    `features_per_db` is that of a patch of 1024 pixels. It goes with the root of the number of
    pixels, because parameters go with the square of the width.
    """

    max_refits: int = 1
    probe_steps: int = 50
    gain_db: float = 4.0
    features_per_db: float = 1.1
    min_width: int = 1
    max_width: int = 48

    def assign(self, task: WidthRequest, probe: Probe) -> Tensor:
        """Widths by a pilot fit."""
        return self._needed(task, probe(self._probe_steps(task)))

    def _needed(self, task: WidthRequest, mse: Tensor) -> Tensor:
        """Widths that will bring blocks with errors `mse` after the pilot to the bound."""
        gain = self.gain_db * math.log10(task.n_steps / self._probe_steps(task))
        lacking = _excess_db(mse, task.max_mse) - gain
        return self._rounded(task.width + self._per_db(task) * lacking)

    def widen(self, widths: Tensor, mse: Tensor, task: WidthRequest) -> Tensor:
        """Wider where the error is above the bound by more than rounding for storage costs."""
        lacking = _excess_db(mse, task.max_mse)
        wider = self._rounded(widths + (self._per_db(task) * lacking).clamp(min=1))
        return torch.where(lacking > _TOLERANCE_DB, torch.maximum(wider, widths), widths)

    def _probe_steps(self, task: WidthRequest) -> int:
        return min(self.probe_steps, task.n_steps)

    def _per_db(self, task: WidthRequest) -> float:
        return self.features_per_db * math.sqrt(task.patch_pixels / 1024)

    def _rounded(self, widths: Tensor) -> Tensor:
        """Whole numbers within the limits, rounded up; a diverged fit gets the most."""
        finite = widths.nan_to_num(nan=self.max_width, posinf=self.max_width)
        return finite.clamp(self.min_width, self.max_width).ceil().long()


@dataclass(frozen=True)
class BudgetCapacity(TargetErrorCapacity):
    """Widths by need for the lowest bound that `parameters_per_pixel` pay for.

    Every chunk spends that many for each pixel of its blocks, and hard blocks get more of them:
    the same error everywhere is where a parameter more is worth the same everywhere. The bound
    decides widths alone; blocks train on to `fitting.max_mse`. The widths of a block therefore
    depend on those it shares a chunk with.
    """

    max_refits: int = 0
    parameters_per_pixel: float = 0.75

    def widen(self, widths: Tensor, mse: Tensor, task: WidthRequest) -> Tensor:
        """No wider: the budget is spent."""
        return widths

    def assign(self, task: WidthRequest, probe: Probe) -> Tensor:
        """Widths by a pilot fit and bisection."""
        mse = probe(self._probe_steps(task)).nan_to_num(nan=1.0, posinf=1.0)
        costs = torch.tensor([0, *(task.cost(width) for width in range(1, self.max_width + 1))])
        budget = self.parameters_per_pixel * float(task.n_pixels.sum())
        low, high = -30.0, 30.0  # decades of the bound; the high one gives every block the least
        while high - low > 1e-3:
            middle = (low + high) / 2
            widths = self._needed(replace(task, max_mse=10**middle), mse)
            is_paid = int(costs[widths].sum()) <= budget
            low, high = (low, middle) if is_paid else (middle, high)
        return self._needed(replace(task, max_mse=10**high), mse)


def _excess_db(mse: Tensor, max_mse: float) -> Tensor:
    """How far errors are above a bound."""
    return 10 * (mse.double().clamp(min=1e-30) / max_mse).log10()
