"""A Laplacian pyramid with wider filters than the built-in ones."""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.pyramids import LaplacianPyramid


def shifted(signal: Tensor, axis: int, by: int) -> Tensor:
    """Each pixel's neighbour `by` pixels further along an axis, with clamped edges."""
    n = signal.shape[axis]
    return signal.index_select(axis, (torch.arange(n, device=signal.device) + by).clamp(0, n - 1))


@dataclass(frozen=True)
class CubicPyramid(LaplacianPyramid):
    """Cubic convolution with a = -1/2 (Keys 1981), and its reduction by (1, 3, 3, 1) / 8."""

    reduce_reach = 1
    expand_reach = 2

    def reduce(self, signal: Tensor) -> Tensor:
        """Weighted mean over 4 pixels along each axis, two of them the pixel's own."""
        for axis in range(1, signal.ndim):
            if signal.shape[axis] % 2:
                signal = torch.cat([signal, signal.narrow(axis, -1, 1)], dim=axis)
            own = signal + shifted(signal, axis, 1)
            outer = shifted(signal, axis, -1) + shifted(signal, axis, 2)
            smooth = 0.375 * own + 0.125 * outer
            signal = smooth.unflatten(axis, (-1, 2)).select(axis + 1, 0)
        return signal

    def expand(self, signal: Tensor, sides: tuple[int, ...]) -> Tensor:
        """Each half of a pixel from the pixel and three neighbours, of which two are on its side.

        Differences to the pixel are added up, so that constants are kept exactly.
        """
        for axis, side in enumerate(sides, start=1):
            halves = []
            for towards in (-1, 1):
                near, far, other = (shifted(signal, axis, k * towards) for k in (1, 2, -1))
                change = 29 * (near - signal) - 3 * (far - signal) - 9 * (other - signal)
                halves.append(signal + change / 128)
            signal = torch.stack(halves, axis + 1).flatten(axis, axis + 1).narrow(axis, 0, side)
        return signal.contiguous()

    def interpolate(self, signal: Tensor, coordinates: Tensor) -> Tensor:
        """Cubic convolution along each axis, of which `expand` is the case of quarters."""
        places = coordinates - 0.5
        low = places.detach().floor()
        t = (places - low).to(signal.dtype)
        weights = [  # (4, D, N) of the pixels -1, 0, 1 and 2
            t * ((2 - t) * t - 1) / 2,
            (t * t * (3 * t - 5) + 2) / 2,
            t * ((4 - 3 * t) * t + 1) / 2,
            t * t * (t - 1) / 2,
        ]
        total = signal.new_zeros(len(signal), coordinates.shape[1])
        for taps in itertools.product(range(4), repeat=len(coordinates)):
            weight, index = torch.ones_like(t[0]), []
            for axis, tap in enumerate(taps):
                weight = weight * weights[tap][axis]
                index.append((low[axis] + tap - 1).clamp(0, signal.shape[axis + 1] - 1).long())
            total = total + weight * signal[(slice(None), *index)]
        return total
