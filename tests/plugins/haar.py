"""A decimated Haar wavelet pyramid (Haar 1910; Mallat 1989): blocks fit its coefficients."""

from dataclasses import dataclass

import torch
from torch import Tensor

from miner.pyramids import Pyramid

ROOT = 0.5**0.5


@dataclass(frozen=True)
class HaarPyramid(Pyramid):
    """Blocks fit the Haar coefficients of what the coarser reconstruction lacks.

    One sample of 2^D coefficients stands for 2^D pixels. The first of them is their mean, so that
    errors of coarser levels are corrected. The transform is orthonormal: an error in coefficients
    is as large as in pixels.
    """

    expand_reach = 0
    step = 2

    def bands(self, n_axes: int) -> int:
        """Low or high along each axis."""
        return 2**n_axes

    def is_signed(self, is_coarsest: bool) -> bool:
        """Always: differences are."""
        return True

    def expand(self, signal: Tensor, sides: tuple[int, ...]) -> Tensor:
        """The nearest pixel."""
        for axis, side in enumerate(sides, start=1):
            signal = signal.repeat_interleave(2, dim=axis).narrow(axis, 0, side)
        return signal.contiguous()

    def interpolate(self, signal: Tensor, coordinates: Tensor) -> Tensor:
        """The nearest pixel, as in `expand`."""
        places = zip(coordinates.floor(), signal.shape[1:], strict=True)
        return signal[(slice(None), *(p.clamp(0, side - 1).long() for p, side in places))]

    def target(self, signal: Tensor, prediction: Tensor) -> Tensor:
        """Sums and differences of pairs of `s - p`; an odd side is replicated at its end."""
        bands = signal - prediction
        for axis in range(2, signal.ndim):
            if bands.shape[axis] % 2:
                bands = torch.cat([bands, bands.narrow(axis, -1, 1)], dim=axis)
            even, odd = bands.unflatten(axis, (-1, 2)).unbind(axis + 1)
            bands = ROOT * torch.cat([even + odd, even - odd], dim=1)
        return bands

    def merge(self, prediction: Tensor, output: Tensor) -> Tensor:
        """`p` and the inverse transform."""
        for axis in reversed(range(2, prediction.ndim)):
            low, high = output.chunk(2, dim=1)
            pairs = ROOT * torch.stack([low + high, low - high], dim=axis + 1)
            output = pairs.flatten(axis, axis + 1).narrow(axis, 0, prediction.shape[axis])
        return prediction + output
