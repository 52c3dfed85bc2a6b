"""Which blocks of a level are fitted, and to which error."""

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

from miner.support.ranges import Ratio, rule
from miner.support.tensors import Tensor

CoarseRatio = Annotated[float, rule("be a number of at least 1", ge=1)]
_LEAST_BOUND = 0.1  # of `fitting.max_mse`
_LEAST_SHARE = 1 / 64  # the narrowest networks cost as much as so many coefficients for each pixel
_COST_EXPONENT = 0.63  # of 4,765 blocks of four photographs, fitted by `capacity=target_error`


class Candidates(NamedTuple):
    """The blocks of a level, `(B,)` each, and `fitting.max_mse`."""

    level: int
    is_coarsest: bool
    builds_on_coarser: bool  # finer levels need the pixels or weights of all coarser ones
    max_mse: float
    predicted_mse: Tensor  # float64
    due: Tensor  # no coarser block represents their pixels
    lost_mse: Tensor  # float64: what this level's pixels lose of the finest level's
    is_cheapest: Tensor  # finer blocks in their place cost more


@dataclass(frozen=True)
class LevelSelection(ABC):
    """Chooses the active blocks of each level, and the errors that they are to reach."""

    compares_levels: ClassVar[bool] = False  # `lost_mse` and `is_cheapest` are found

    @abstractmethod
    def active(self, blocks: Candidates) -> Tensor:
        """Mask `(B,)`."""

    @abstractmethod
    def bounds(self, blocks: Candidates) -> Tensor:
        """Errors `(B,)` float64."""

    def cost(self, lost_mse: Tensor, max_mse: float, n_axes: int) -> Tensor:
        """Predicted cost `(B,)` of a level's blocks, infinite where they cannot reach the bound.

        `lost_mse` `(K, B)`: what this level and the coarser ones lose of the finest level's pixels.
        """
        return lost_mse.new_ones(lost_mse.shape[1])


@dataclass(frozen=True)
class PerLevelSelection(LevelSelection):
    """Blocks whose prediction misses the bound of their level: one for all, looser above level 0.

    All blocks of the coarsest level are active.
    """

    coarse_ratio: CoarseRatio = 1000.0

    def active(self, blocks: Candidates) -> Tensor:
        """Mask `(B,)`."""
        return (blocks.predicted_mse > self.bounds(blocks)) | blocks.is_coarsest

    def bounds(self, blocks: Candidates) -> Tensor:
        """Errors `(B,)` float64."""
        ratio = self.coarse_ratio if blocks.level else 1.0
        return blocks.predicted_mse.new_full(blocks.predicted_mse.shape, ratio * blocks.max_mse)


@dataclass(frozen=True)
class AdaptiveSelection(PerLevelSelection):
    """Each region is represented at the level that takes the fewest parameters for it.

    A block is to reach what its level's loss leaves of `fitting.max_mse`, and is then evaluated at
    the pixels of all finer levels. Where finer levels build on coarser ones, other blocks of these
    have the bound of `PerLevelSelection`.
    """

    compares_levels: ClassVar[bool] = True
    max_lost: Ratio = 0.4  # of the bound: loss of a level, times `needed_share`

    def active(self, blocks: Candidates) -> Tensor:
        """Mask `(B,)`."""
        if blocks.builds_on_coarser:
            return super().active(blocks)
        return blocks.due & blocks.is_cheapest & (blocks.predicted_mse > 0)

    def bounds(self, blocks: Candidates) -> Tensor:
        """Errors `(B,)` float64."""
        left = blocks.max_mse - blocks.lost_mse
        return left.where(blocks.is_cheapest, super().bounds(blocks))

    def cost(self, lost_mse: Tensor, max_mse: float, n_axes: int) -> Tensor:
        """A power of the coefficients for each pixel that the bound takes.

        Infinite where blocks often missed it: where the level loses most of the bound, or much of
        it and needs most of its coefficients.
        """
        share, lost = needed_share(lost_mse, max_mse, n_axes), lost_mse[0]
        is_missed = (lost > (1 - _LEAST_BOUND) * max_mse) | (lost * share > self.max_lost * max_mse)
        return share.clamp(min=_LEAST_SHARE).pow(_COST_EXPONENT).masked_fill(is_missed, math.inf)


def needed_share(lost_mse: Tensor, max_mse: float, n_axes: int) -> Tensor:
    """The share `(B,)` of a level's pixels that are coefficients enough to lose `max_mse`.

    `lost_mse` `(K, B)` is lost with all of them, with `2**-n_axes`, and so on. Between the first
    two the share is linear in the loss, and further on its logarithm in that of the loss. Beyond
    the last, three more lose four times as much each.
    """
    import torch

    whole, share = 2.0**-n_axes, lost_mse.new_ones(lost_mse.shape[1])
    lost_mse = torch.cat([lost_mse, *(ratio * lost_mse[-1:] for ratio in (4, 16, 64))])
    for step, (fine, coarse) in enumerate(itertools.pairwise(lost_mse)):
        if step == 0:
            part = (max_mse - fine) / (coarse - fine)
            found = 1 - (1 - whole) * part.nan_to_num(nan=1.0).clamp(0, 1)
        else:
            part = (max_mse / fine).log() / (coarse / fine).log()
            found = whole ** (step + part.nan_to_num(nan=1.0).clamp(0, 1))
        share = found.where(max_mse >= fine, share)
    return share
