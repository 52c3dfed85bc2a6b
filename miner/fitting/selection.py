"""Which blocks of a level are fitted, and to which error."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

from miner.support.ranges import Ratio, rule
from miner.support.tensors import Tensor


class Candidates(NamedTuple):
    """The blocks of a level, `(B,)` each, and `fitting.max_mse`."""

    level: int
    is_coarsest: bool
    max_mse: float
    predicted_mse: Tensor  # float64
    due: Tensor  # no coarser block represents their pixels
    lost_mse: Tensor  # float64: what this level's pixels lose of the finest level's


@dataclass(frozen=True)
class LevelSelection(ABC):
    """Chooses the active blocks of each level, and the errors that they are to reach."""

    evaluates_coarser: ClassVar[bool] = False  # finer pixels without blocks are a coarser block's
    ring: ClassVar[int] = 0  # pixels around a block of a coarser level that it fits, too

    @abstractmethod
    def active(self, blocks: Candidates) -> Tensor:
        """Mask `(B,)`."""

    @abstractmethod
    def bounds(self, blocks: Candidates) -> Tensor:
        """Errors `(B,)` float64."""


@dataclass(frozen=True)
class PerLevelSelection(LevelSelection):
    """Blocks whose prediction misses the bound of their level: one for all, looser above level 0.

    All blocks of the coarsest level are active.
    """

    coarse_ratio: Annotated[float, rule("be a number of at least 1", ge=1)] = 1000.0

    def active(self, blocks: Candidates) -> Tensor:
        """Mask `(B,)`."""
        return (blocks.predicted_mse > self.bounds(blocks)) | blocks.is_coarsest

    def bounds(self, blocks: Candidates) -> Tensor:
        """Errors `(B,)` float64."""
        ratio = self.coarse_ratio if blocks.level else 1.0
        return blocks.predicted_mse.new_full(blocks.predicted_mse.shape, ratio * blocks.max_mse)


@dataclass(frozen=True)
class AdaptiveSelection(LevelSelection):
    """Each region is represented once, at the coarsest level whose pixels lose little of it.

    The block of that level is evaluated at the pixels of all finer levels. It is to reach what the
    loss leaves of `fitting.max_mse`.
    """

    evaluates_coarser: ClassVar[bool] = True
    ring: ClassVar[int] = 1
    max_lost: Ratio = 0.5  # of the bound

    def active(self, blocks: Candidates) -> Tensor:
        """Mask `(B,)`."""
        return blocks.due & (blocks.lost_mse <= self.max_lost * blocks.max_mse)

    def bounds(self, blocks: Candidates) -> Tensor:
        """Errors `(B,)` float64."""
        return (blocks.max_mse - blocks.lost_mse).clamp(min=(1 - self.max_lost) * blocks.max_mse)
