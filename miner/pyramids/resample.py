"""Reduce and expand a signal by 2, which every pyramid does alike. Constants are kept exactly."""

import torch
from torch import Tensor

from miner.signals.regions import Region, sides_of, slices
from miner.signals.signal import ArraySignal, Signal


def reduce(signal: Tensor) -> Tensor:
    """Area mean over 2^D pixels, `(C, *half(S))`; an odd side is first replicated at its end."""
    for axis in range(1, signal.ndim):
        if signal.shape[axis] % 2:
            signal = torch.cat([signal, signal.narrow(axis, -1, 1)], dim=axis)
        even, odd = signal.unflatten(axis, (-1, 2)).unbind(axis + 1)
        signal = 0.5 * (even + odd)
    return signal


def expand(signal: Tensor, sides: tuple[int, ...]) -> Tensor:
    """Linear interpolation of `(C, *half(sides))` to `(C, *sides)`, with clamped edges."""
    # The order of operations is fixed, so that a region expands to the same bits as the whole.
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
