"""Pyramids: what the blocks of a level fit, and how levels are merged.

`s` is a level's signal `(C, *S)`, `p` its prediction, which is the next coarser level, expanded, or
zero at the coarsest; `merge(p, target(s, p)) = s`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from miner.support.ranges import rule, whole
from miner.support.tensors import Tensor

NLevels = Annotated[
    Literal["auto"] | Annotated[int, whole(1, 32)], rule("be a whole number from 1 to 32, or auto")
]


def half(sides: tuple[int, ...]) -> tuple[int, ...]:
    """Sides of the next coarser level: `ceil(S / 2)` for every axis."""
    return tuple((side + 1) // 2 for side in sides)


@dataclass(frozen=True)
class Pyramid(ABC):
    """A multiscale decomposition of `n_levels` levels; level 0 is full resolution."""

    has_residuals: ClassVar[bool] = False  # targets of either sign, but where `p` is zero
    n_levels: NLevels = "auto"  # the fewest whose coarsest longer side is at most 4 patches

    def levels_for(self, sides: tuple[int, ...], patch_size: int) -> int:
        """Number of levels for a signal with these sides."""
        n_levels = 1
        while max(sides) > 4 * patch_size:
            sides = half(sides)
            n_levels += 1
        return n_levels if self.n_levels == "auto" else self.n_levels

    @abstractmethod
    def target(self, signal: Tensor, prediction: Tensor) -> Tensor:
        """What the blocks fit, element by element."""

    @abstractmethod
    def merge(self, prediction: Tensor, output: Tensor) -> Tensor:
        """The reconstruction where blocks are active, element by element."""


@dataclass(frozen=True)
class GaussianPyramid(Pyramid):
    """Every active block fits the signal itself (Burt and Adelson 1983, "Gaussian pyramid")."""

    def target(self, signal: Tensor, prediction: Tensor) -> Tensor:
        """`s`."""
        return signal

    def merge(self, prediction: Tensor, output: Tensor) -> Tensor:
        """The blocks' output alone."""
        return output


@dataclass(frozen=True)
class LaplacianPyramid(Pyramid):
    """Every active block fits what the coarser reconstruction lacks (MINER, arXiv 2202.03532).

    MINER's residual is of the ideal coarser level; here, errors of coarse levels do not accumulate.
    """

    has_residuals = True

    def target(self, signal: Tensor, prediction: Tensor) -> Tensor:
        """`s - p`."""
        return signal - prediction

    def merge(self, prediction: Tensor, output: Tensor) -> Tensor:
        """`p + output`."""
        return prediction + output
