"""Errors at the borders of patches against errors elsewhere, added up region by region."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from miner.regions import Region


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
