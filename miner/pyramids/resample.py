"""Reduce and expand signals `(C, *S)` by 2, whole or region by region; constants are kept exactly.

A level's prediction is the next coarser level, expanded.
"""

import torch
from torch import Tensor

from miner.signals.regions import Region, sides_of, slices
from miner.signals.signal import Signal


def half(sides: tuple[int, ...]) -> tuple[int, ...]:
    """Sides of the next coarser level: `ceil(S / 2)` for every axis."""
    return tuple((side + 1) // 2 for side in sides)


def reduce(signal: Tensor) -> Tensor:
    """Area mean over 2^D pixels, `(C, *half(S))`; an odd side is first replicated at its end."""
    for axis in range(1, signal.ndim):
        before = (slice(None),) * axis
        even, odd = signal[(*before, slice(0, None, 2))], signal[(*before, slice(1, None, 2))]
        if odd.shape[axis] < even.shape[axis]:
            last = even.narrow(axis, even.shape[axis] - 1, 1)
            odd = torch.cat([odd, last], dim=axis)
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
        before = torch.cat([signal.narrow(axis, 0, 1), signal.narrow(axis, 0, n - 1)], dim=axis)
        after = torch.cat([signal.narrow(axis, 1, n - 1), signal.narrow(axis, n - 1, 1)], dim=axis)
        # x + (y - x) / 4 rather than 3/4 x + 1/4 y: exact where x = y.
        left = signal + 0.25 * (before - signal)
        right = signal + 0.25 * (after - signal)
        doubled = torch.stack([left, right], dim=axis + 1).flatten(axis, axis + 1)
        signal = doubled.narrow(axis, 0, side)
    return signal.contiguous()


class ZeroSignal(Signal):
    """The prediction of the coarsest level."""

    def read(self, region: Region) -> Tensor:
        """Zeros."""
        return torch.zeros(self.n_channels, *sides_of(region), device=self.device)


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
        coarser = self._coarser.read(tuple(around))
        doubled = expand(coarser, tuple(2 * side for side in coarser.shape[1:]))
        crop = tuple(
            (low - 2 * start, high - 2 * start)
            for (low, high), (start, _) in zip(region, around, strict=True)
        )
        return doubled[(slice(None), *slices(crop))].contiguous()
