"""How wide a block's network is: one width for all blocks of a level, or one for each."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

from miner.support.ranges import Count, Positive, rule, whole
from miner.support.tensors import Tensor

Width = Annotated[int, whole(1, 1024)]
TOLERANCE_DB = 0.3  # what rounding for storage may cost without another fit
TOLERANCE = 10 ** (TOLERANCE_DB / 10)


@dataclass(frozen=True)
class WidthRequest:
    """Blocks with `n_pixels` `(B,)` real pixels that are to reach `max_mse` in `n_steps`."""

    width: int  # the level's
    n_steps: int
    n_pixels: Tensor
    patch_pixels: int  # of a whole patch
    max_mse: float | Tensor  # of all, or (B,)
    cost: Callable[[int], int]  # parameters of a network of some width
    probe: Callable[[int], Tensor]  # errors `(B,)` after at most so many steps at that width


@dataclass(frozen=True)
class Capacity(ABC):
    """Gives each block of a chunk a width, and a wider one for up to `max_refits` refits."""

    remedy = ""  # what brings more blocks to `fitting.max_mse`; empty where that is not the aim
    max_refits: Annotated[int, whole(0, 8)] = 0

    @abstractmethod
    def assign(self, request: WidthRequest) -> Tensor:
        """Widths `(B,)` of a chunk's blocks."""

    def widen(self, widths: Tensor, mse: Tensor, request: WidthRequest) -> Tensor:
        """Widths `(B,)` for a refit of blocks whose fits ended with errors `mse` `(B,)`."""
        return widths


@dataclass(frozen=True)
class UniformCapacity(Capacity):
    """`model.width` for every block."""

    remedy = "capacity=target_error or a greater model.width"

    def assign(self, request: WidthRequest) -> Tensor:
        """The level's width."""
        return request.n_pixels.new_full(request.n_pixels.shape, request.width)


@dataclass(frozen=True)
class TargetErrorCapacity(Capacity):
    """The smallest width that will bring a block to `fitting.max_mse`.

    Each block is first fitted for `probe_steps` at `model.width`. It then gets more or fewer
    features for each decibel that its error, less what more steps will gain, misses the bound by.
    """

    remedy = "more capacity.max_refits or a greater capacity.max_width"
    max_refits: Annotated[int, whole(0, 8)] = 1
    probe_steps: Count = 50
    gain_db: Annotated[float, rule("be 0 or more", ge=0, allow_inf_nan=False)] = 4.0  # in 10x steps
    features_per_db: Positive = 1.1  # of 1024 pixels
    min_width: Width = 1
    max_width: Width = 48

    def assign(self, request: WidthRequest) -> Tensor:
        """Widths by a probe fit."""
        return self._needed(request, request.probe(self.probe_steps))

    def widen(self, widths: Tensor, mse: Tensor, request: WidthRequest) -> Tensor:
        """Wider where the error is above the bound by more than rounding for storage costs."""
        lacking = _excess_db(mse, request.max_mse)
        wider = self._rounded(widths + self._features(lacking, request).clamp(min=1))
        return wider.maximum(widths).where(lacking > TOLERANCE_DB, widths)

    def _needed(self, request: WidthRequest, mse: Tensor) -> Tensor:
        """Widths that will bring blocks with errors `mse` after the probe fit to the bound."""
        gain = self.gain_db * math.log10(max(1, request.n_steps / self.probe_steps))
        lacking = _excess_db(mse, request.max_mse) - gain
        return self._rounded(request.width + self._features(lacking, request))

    def _features(self, lacking_db: Tensor, request: WidthRequest) -> Tensor:
        # Parameters go with the squared width, so the width with the root of the pixels.
        return self.features_per_db * math.sqrt(request.patch_pixels / 1024) * lacking_db

    def _rounded(self, widths: Tensor) -> Tensor:
        """Whole numbers within the limits, rounded up; a diverged fit gets `max_width`."""
        finite = widths.nan_to_num(nan=self.max_width, posinf=self.max_width)
        return finite.clamp(self.min_width, self.max_width).ceil().long()


@dataclass(frozen=True)
class BudgetCapacity(TargetErrorCapacity):
    """Widths for the lowest common error that `parameters_per_pixel` pay for.

    It is common to a chunk and decides widths alone; blocks are trained to `fitting.max_mse`.
    """

    remedy = ""
    max_refits: Annotated[int, whole(0, 8)] = 0
    parameters_per_pixel: Positive = 0.75

    def assign(self, request: WidthRequest) -> Tensor:
        """Widths by a probe fit and bisection."""
        mse = request.probe(self.probe_steps).nan_to_num(nan=1.0, posinf=1.0)
        costs = request.n_pixels.new_tensor([0, *map(request.cost, range(1, self.max_width + 1))])
        budget = self.parameters_per_pixel * float(request.n_pixels.sum())
        low, high = -30.0, 30.0  # decades of the error; `high` gives every block `min_width`
        while high - low > 1e-3:
            middle = (low + high) / 2
            widths = self._needed(replace(request, max_mse=10**middle), mse)
            is_paid = int(costs[widths].sum()) <= budget
            low, high = (low, middle) if is_paid else (middle, high)
        return self._needed(replace(request, max_mse=10**high), mse)


def _excess_db(mse: Tensor, max_mse: float | Tensor) -> Tensor:
    return 10 * (mse.double().clamp(min=1e-30) / max_mse).log10()
