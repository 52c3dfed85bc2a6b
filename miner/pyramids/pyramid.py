"""Pyramids: reduce and expand by 2, what the blocks of a level fit, and how levels are merged.

`s` is a level's signal `(C, *S)`, `p` its prediction, which is the next coarser level, expanded, or
zero at the coarsest; `merge(p, target(s, p)) = s`. Constants are kept exactly.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from miner.signals.regions import Region, sides_of, slices
from miner.signals.signal import ArraySignal, Signal


def half(sides: tuple[int, ...]) -> tuple[int, ...]:
    """Sides of the next coarser level: `ceil(S / 2)` for every axis."""
    return tuple((side + 1) // 2 for side in sides)


def reduce(signal: Tensor) -> Tensor:
    """Area mean over 2^D pixels, `(C, *half(S))`; an odd side is first replicated at its end."""
    for axis in range(1, signal.ndim):
        if signal.shape[axis] % 2:
            signal = torch.cat([signal, signal.narrow(axis, -1, 1)], dim=axis)
        even, odd = signal.unflatten(axis, (-1, 2)).unbind(axis + 1)
        signal = 0.5 * (even + odd)
    return signal


def expand(signal: Tensor, sides: tuple[int, ...]) -> Tensor:
    """Linear interpolation of `(C, *half(sides))` to `(C, *sides)`, with clamped edges.

    The order of operations is fixed, so that a region expands to the same bits as the whole.
    Raises `ValueError` if the signal has other sides.
    """
    if tuple(signal.shape[1:]) != half(sides):
        raise ValueError(
            f"sides={sides}: expand needs a signal with sides {half(sides)}, "
            f"this one has {tuple(signal.shape[1:])}"
        )
    for axis, side in enumerate(sides, start=1):
        n = signal.shape[axis]
        clamped = [signal.narrow(axis, 0, 1), signal, signal.narrow(axis, n - 1, 1)]
        padded = torch.cat(clamped, dim=axis)
        neighbours = padded.narrow(axis, 0, n), padded.narrow(axis, 2, n)
        # x + (y - x) / 4 rather than 3/4 x + 1/4 y: exact where x = y.
        halves = [signal + 0.25 * (neighbour - signal) for neighbour in neighbours]
        signal = torch.stack(halves, axis + 1).flatten(axis, axis + 1).narrow(axis, 0, side)
    return signal.contiguous()


def zero_signal(n_channels: int, sides: tuple[int, ...], device: torch.device) -> Signal:
    """The prediction of the coarsest level, which takes no memory."""
    return ArraySignal(torch.zeros((), device=device).expand(n_channels, *sides))


class ExpandedSignal(Signal):
    """The prediction of a level with these sides from the next coarser level."""

    def __init__(self, coarser: Signal, sides: tuple[int, ...]) -> None:
        super().__init__(coarser.n_channels, sides, coarser.device)
        self._coarser = coarser

    def read(self, region: Region) -> Tensor:
        """Expand a part of the coarser level, with a halo of a pixel."""
        around = [
            (max(0, low // 2 - 1), min(side, (high - 1) // 2 + 2))
            for (low, high), side in zip(region, self._coarser.sides, strict=True)
        ]
        doubled = tuple((2 * low, 2 * high) for low, high in around)
        expanded = expand(self._coarser.read(tuple(around)), sides_of(doubled))
        return expanded[(slice(None), *slices(region, doubled))].contiguous()


@dataclass(frozen=True)
class Pyramid(ABC):
    """A multiscale decomposition of `n_levels` levels; level 0 is full resolution.

    `n_levels="auto"` takes the fewest levels whose coarsest longer side is at most 4 patches.
    """

    n_levels: int | Literal["auto"] = "auto"

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

    def has_signed_target(self, is_coarsest: bool) -> bool:
        """Whether targets are residuals of either sign, not values in the unit range as here."""
        return False


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

    def target(self, signal: Tensor, prediction: Tensor) -> Tensor:
        """`s - p`."""
        return signal - prediction

    def merge(self, prediction: Tensor, output: Tensor) -> Tensor:
        """`p + output`."""
        return prediction + output

    def has_signed_target(self, is_coarsest: bool) -> bool:
        """At every level but the coarsest, where the prediction is zero."""
        return not is_coarsest
