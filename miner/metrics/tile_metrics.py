"""PSNR, SSIM and seam ratio of an image that is compared tile by tile."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from miner.metrics.squared_error import psnr_of_sse, squared_error
from miner.metrics.ssim import WINDOW, ssim_sum
from miner.signals.regions import Region, sides_of

OVERLAP = WINDOW - 1
"""Pixels beyond a tile that are reached by the windows of SSIM that begin in it."""


def extended(tile: Region, sides: Sequence[int]) -> Region:
    """A tile and up to `OVERLAP` pixels after it, within the image."""
    return tuple(
        (first, min(end + OVERLAP, side)) for (first, end), side in zip(tile, sides, strict=True)
    )


class TileMetrics:
    """Sums over the tiles of an image, each of which is added once, in float64."""

    def __init__(self, sides: Sequence[int], n_channels: int, patch_size: int) -> None:
        """Take the image's shape and the side of its patches; `ValueError` if that is below 1."""
        if patch_size < 1:
            raise ValueError(f"patch_size={patch_size}: a patch needs at least 1 pixel a side")
        self._sides, self._n_channels = tuple(sides), n_channels
        self._n_pixels = math.prod(sides)
        self._at_seam = [_faces_a_patch(side, patch_size) for side in sides]
        self._sse = self._seam_sse = self._inner_sse = self._similarity = 0.0

    def add(self, tile: Region, source: Tensor, reconstruction: Tensor) -> Tensor:
        """Add a tile: two `(C, *S)` tensors in the unit range of the box that `extended` gives.

        Gives the squared error of each pixel of the tile itself, summed over channels, in float64.
        Raises `ValueError` if the tensors have another shape.
        """
        shape = (self._n_channels, *sides_of(extended(tile, self._sides)))
        for given in (source, reconstruction):
            if tuple(given.shape) != shape:
                raise ValueError(
                    f"shape {tuple(given.shape)}: the tile {tile} and the pixels after it, as "
                    f"far as `extended` says, are {shape}"
                )
        inner = (slice(None), *map(slice, sides_of(tile)))
        per_pixel = squared_error(source[inner], reconstruction[inner])
        at_seam = torch.zeros((), dtype=torch.bool)
        for marks, (first, end) in zip(self._at_seam, tile, strict=True):
            at_seam = at_seam.unsqueeze(-1) | marks[first:end]
        self._sse += float(per_pixel.sum())
        self._seam_sse += float(per_pixel[at_seam].sum())
        self._inner_sse += float(per_pixel[~at_seam].sum())
        if len(self._sides) == 2:
            self._similarity += ssim_sum(source.numpy(), reconstruction.numpy())
        return per_pixel

    @property
    def psnr_db(self) -> float:
        """Peak signal-to-noise ratio over all pixels and channels; infinite if all are equal."""
        return psnr_of_sse(self._sse, self._n_channels * self._n_pixels)

    @property
    def ssim(self) -> float | None:
        """Mean over channels and full windows; None if a side is below 11 pixels, or no image."""
        n_windows = math.prod(max(0, side - OVERLAP) for side in self._sides)
        if len(self._sides) != 2 or n_windows == 0:
            return None
        return self._similarity / (self._n_channels * n_windows)

    @property
    def seam_ratio(self) -> float | None:
        """Mean squared error at the borders of patches that face another, over that elsewhere.

        About 1 means no visible seams; None without such a border, other pixels or error.
        """
        n_inner = math.prod(int((~marks).sum()) for marks in self._at_seam)
        if n_inner in (0, self._n_pixels) or self._inner_sse == 0:
            return None
        return (self._seam_sse / (self._n_pixels - n_inner)) / (self._inner_sse / n_inner)


def _faces_a_patch(side: int, patch_size: int) -> Tensor:
    """Mark (bool, (side,)) the positions along an axis whose neighbour is in another patch."""
    position = torch.arange(side)
    first = (position % patch_size == 0) & (position > 0)
    last = (position % patch_size == patch_size - 1) & (position < side - 1)
    return first | last
