"""Squared error and PSNR, over an image and at the borders of patches."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from miner.signals.regions import Region


def psnr_db(source: Tensor, reconstruction: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for peak 1.0, over all pixels and channels.

    Takes two `(C, *S)` tensors, the source in the unit range; the reconstruction is clipped to it
    first. `math.inf` when the two are then identical. Works on the CPU in float64. Raises
    `ValueError` if the shapes differ or hold no pixel.
    """
    error = SquaredError()
    error.add(source.detach().cpu(), reconstruction.detach().cpu())
    return error.psnr_db


class SquaredError:
    """A sum over all pixels and channels so far, in float64."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.total, self.n_values = 0.0, 0

    def add(self, source: Tensor, reconstruction: Tensor) -> Tensor:
        """Add a region: two `(C, *S)` tensors of one shape, the reconstruction clipped first.

        Gives the sum over channels, `(*S)` float64.

        Raises:
            ValueError: the shapes differ.
        """
        if source.shape != reconstruction.shape:
            raise ValueError(
                f"source {tuple(source.shape)} and reconstruction {tuple(reconstruction.shape)} "
                "must have the same shape (C, *S)"
            )
        per_pixel = torch.zeros(source.shape[1:], dtype=torch.float64)
        for wanted, got in zip(source, reconstruction, strict=True):  # temporaries stay small
            per_pixel += wanted.double().sub_(got.clamp(0, 1)).square_()
        self.total += float(per_pixel.sum())
        self.n_values += source.numel()
        return per_pixel

    @property
    def psnr_db(self) -> float:
        """Peak signal-to-noise ratio for peak 1.0; infinite for a perfect reconstruction.

        Raises:
            ValueError: nothing was added.
        """
        if self.n_values == 0:
            raise ValueError("no pixel was compared: add regions that hold at least one pixel")
        return math.inf if self.total == 0 else -10 * math.log10(self.total / self.n_values)


class Seams:
    """Mean squared error at inner patch borders over that of all other pixels.

    Patches start at the origin. A pixel is at a border if it lies in the first or last row or
    column (or plane) of a patch that faces another patch.
    """

    def __init__(self, sides: Sequence[int], patch_size: int) -> None:
        """Take the image's sides and the side of its patches.

        Raises:
            ValueError: `patch_size` is below 1.
        """
        if patch_size < 1:
            raise ValueError(f"patch_size={patch_size}: a patch needs at least 1 pixel a side")
        self._marks = [_seam_positions(side, patch_size) for side in sides]
        self._n_pixels = math.prod(sides)
        self._at_seams = self._inside = 0.0

    def add(self, region: Region, squared_error: Tensor) -> None:
        """Add the error `(*S)` of each pixel in a region of the image."""
        marks = [mark[first:end] for mark, (first, end) in zip(self._marks, region, strict=True)]
        at_seam = marks[0]
        for mark in marks[1:]:
            at_seam = at_seam.unsqueeze(-1) | mark
        self._at_seams += float(squared_error[at_seam].sum())
        self._inside += float(squared_error[~at_seam].sum())

    @property
    def ratio(self) -> float | None:
        """About 1 means no visible seams; None without an inner border, other pixels or error."""
        n_inside = math.prod(int((~mark).sum()) for mark in self._marks)
        if n_inside in (0, self._n_pixels) or self._inside == 0:
            return None
        return (self._at_seams / (self._n_pixels - n_inside)) / (self._inside / n_inside)


def _seam_positions(side: int, patch_size: int) -> Tensor:
    """Mark (bool, (side,)) the positions along one axis that face another patch."""
    position = torch.arange(side)
    first = (position % patch_size == 0) & (position > 0)
    last = (position % patch_size == patch_size - 1) & (position < side - 1)
    return first | last
