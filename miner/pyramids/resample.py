"""Reduce a signal to half its sides, and expand it back.

Signals are `(C, *S)`: C channels over D spatial axes. Both operations are separable, so that one
function serves images and volumes, and both keep constants exactly.
"""

import torch
from torch import Tensor


def half(sides: tuple[int, ...]) -> tuple[int, ...]:
    """Sides of the next coarser level: `ceil(S / 2)` for every axis."""
    return tuple((side + 1) // 2 for side in sides)


def reduce(signal: Tensor) -> Tensor:
    """Area mean over 2^D pixels; an odd side is first replicated by one at its end.

    Takes `(C, *S)`, gives `(C, *ceil(S / 2))`.
    """
    for axis in range(1, signal.ndim):
        even = _every_second(signal, axis, 0)
        odd = _every_second(signal, axis, 1)
        if odd.shape[axis] < even.shape[axis]:
            last = even.narrow(axis, even.shape[axis] - 1, 1)
            odd = torch.cat([odd, last], dim=axis)
        signal = 0.5 * (even + odd)
    return signal


def expand(signal: Tensor, sides: tuple[int, ...]) -> Tensor:
    """Linear interpolation by exactly 2 with half-pixel centres and clamped edges.

    Takes `(C, *half(sides))`, gives `(C, *sides)`. Every output pixel is 3/4 of the nearest and 1/4
    of the second nearest input pixel along each axis. The order of operations is fixed, so that a
    region expands to the same bits as the whole.

    Raises:
        ValueError: the signal's sides are not half of `sides`.
    """
    if tuple(signal.shape[1:]) != half(sides):
        raise ValueError(
            f"sides={sides}: expand needs a signal with sides {half(sides)}, "
            f"this one has {tuple(signal.shape[1:])}"
        )
    for axis, side in enumerate(sides, start=1):
        signal = _expand_axis(signal, axis).narrow(axis, 0, side)
    return signal.contiguous()


def _every_second(signal: Tensor, axis: int, start: int) -> Tensor:
    index = [slice(None)] * signal.ndim
    index[axis] = slice(start, None, 2)
    return signal[tuple(index)]


def _expand_axis(signal: Tensor, axis: int) -> Tensor:
    n = signal.shape[axis]
    before = torch.cat([signal.narrow(axis, 0, 1), signal.narrow(axis, 0, n - 1)], dim=axis)
    after = torch.cat([signal.narrow(axis, 1, n - 1), signal.narrow(axis, n - 1, 1)], dim=axis)
    # x + (y - x) / 4 rather than 3/4 x + 1/4 y: exact where x = y.
    left = signal + 0.25 * (before - signal)
    right = signal + 0.25 * (after - signal)
    return torch.stack([left, right], dim=axis + 1).flatten(axis, axis + 1)
