"""Squared error, PSNR, SSIM and seam ratio, also of an image that is compared tile by tile."""

import math
import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miner.representation import Representation
from miner.signals.regions import Region, sides_of
from miner.signals.signal import CPU

_OVERLAP = 10  # pixels below and to the right of the first one of a window of SSIM
_SIGMA = 1.5
_BAND = 128  # rows of windows at once: temporaries stay small, and in the cache
_C1, _C2 = 0.01**2, 0.03**2


def psnr_of_sse(sse: float, n_values: int) -> float:
    """PSNR in dB of a squared error summed over so many values; `ValueError` for none."""
    if n_values == 0:
        raise ValueError("no pixel was compared: the images need at least one pixel")
    return math.inf if sse == 0 else -10 * math.log10(sse / n_values)


def squared_error(source: Tensor, reconstruction: Tensor) -> Tensor:
    """Sum over channels, `(*S)`, of two `(C, *S)` tensors of one shape, the second clipped."""
    per_pixel = torch.zeros(source.shape[1:], dtype=torch.float64)
    for wanted, got in zip(source, reconstruction, strict=True):  # temporaries stay small
        per_pixel += wanted.double().sub_(got.clamp(0, 1)).square_()
    return per_pixel


def extended(tile: Region, sides: Sequence[int]) -> Region:
    """A tile and up to 10 pixels after it, within the image: the windows of SSIM reach them."""
    return tuple(
        (first, min(end + _OVERLAP, side)) for (first, end), side in zip(tile, sides, strict=True)
    )


class Evaluation:
    """Renders level 0 in plain PyTorch and scores it; each of `signals.regions.tiles` is added."""

    def __init__(self, representation: Representation, device: torch.device = CPU) -> None:
        spec = representation.spec
        self._representation, self._device = representation, device
        self._sides, self._n_channels = spec.sides, spec.n_channels
        self._n_pixels = math.prod(spec.sides)
        self._at_seam = [_faces_a_patch(side, spec.patch_size) for side in spec.sides]
        self._sse = self._seam_sse = self._inner_sse = self._similarity = 0.0
        self._render_time_s = 0.0

    def add(self, region: Region, source: Tensor) -> dict[str, Any]:
        """Score a tile; `source` is the image `(C, *S)` in the box that `extended` gives.

        Gives the tile's `region`, what it was and is rendered as, `target` and `preds` `(C, *S)`,
        and the `squared_error` `(*S)`. Raises `ValueError` for a source of another shape.
        """
        around = extended(region, self._sides)
        shape = (self._n_channels, *sides_of(around))
        if tuple(source.shape) != shape:
            raise ValueError(f"shape {tuple(source.shape)}: the extended tile has {shape}")
        began = time.perf_counter()
        rendered = self._representation.reconstruct(0, around, self._device).clamp_(0, 1).cpu()
        self._render_time_s += time.perf_counter() - began
        inner = (slice(None), *map(slice, sides_of(region)))
        per_pixel = squared_error(source[inner], rendered[inner])
        at_seam = torch.zeros((), dtype=torch.bool)
        for marks, (first, end) in zip(self._at_seam, region, strict=True):
            at_seam = at_seam.unsqueeze(-1) | marks[first:end]
        self._sse += float(per_pixel.sum())
        self._seam_sse += float(per_pixel[at_seam].sum())
        self._inner_sse += float(per_pixel[~at_seam].sum())
        if len(self._sides) == 2:
            self._similarity += ssim_sum(source.numpy(), rendered.numpy())
        tile = {"target": source[inner], "preds": rendered[inner], "squared_error": per_pixel}
        return {"region": region, **tile}

    @property
    def scores(self) -> dict[str, Any]:
        """Scores by their names in the report, once all tiles were added."""
        return {
            "psnr_db": self.psnr_db,
            "ssim": self.ssim,
            "seam_ratio": self.seam_ratio,
            "render_time_s": self._render_time_s,
        }

    @property
    def psnr_db(self) -> float:
        """Peak signal-to-noise ratio over all pixels and channels; infinite if all are equal."""
        return psnr_of_sse(self._sse, self._n_channels * self._n_pixels)

    @property
    def ssim(self) -> float | None:
        """Mean over channels and full windows; None if a side is below 11 pixels, or no image."""
        n_windows = math.prod(max(0, side - _OVERLAP) for side in self._sides)
        if len(self._sides) != 2 or n_windows == 0:
            return None
        return self._similarity / (self._n_channels * n_windows)

    @property
    def seam_ratio(self) -> float | None:
        """Mean squared error at borders between patches over that elsewhere; 1 is without seams.

        None without such a border, other pixels or error.
        """
        n_inner = math.prod(int((~marks).sum()) for marks in self._at_seam)
        if n_inner in (0, self._n_pixels) or self._inner_sse == 0:
            return None
        return (self._seam_sse / (self._n_pixels - n_inner)) / (self._inner_sse / n_inner)


def _faces_a_patch(side: int, patch_size: int) -> Tensor:
    position = torch.arange(side)
    first = (position % patch_size == 0) & (position > 0)
    last = (position % patch_size == patch_size - 1) & (position < side - 1)
    return first | last


def ssim_sum(source: NDArray[np.float32], reconstruction: NDArray[np.float32]) -> float:
    """Sum of the SSIM over the channels and full windows of two `(C, H, W)` images; 0 if none.

    Wang et al. 2004 (doi:10.1109/TIP.2003.819861): both in the unit range, Gaussian windows of
    11 x 11 pixels, sigma 1.5.
    """
    height, width = source.shape[1:]
    if min(height, width) <= _OVERLAP:
        return 0.0
    bands = [slice(top, top + _BAND + _OVERLAP) for top in range(0, height - _OVERLAP, _BAND)]
    return sum(
        _band_sum(one[band].astype(np.float64), other[band].astype(np.float64))
        for one, other in zip(source, reconstruction, strict=True)
        for band in bands
    )


def _band_sum(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The sum for some rows of one channel.

    Of s = x + y and d = x - y only means and mean squares are needed:
    4 mean(x) mean(y) = mean(s)^2 - mean(d)^2, and likewise for the covariance.
    """
    # Means first: a variance is the small difference of two large numbers, hence float64.
    s, d = _window_means(x + y), _window_means(x - y)
    s_square, d_square = _window_means((x + y) ** 2), _window_means((x - y) ** 2)
    s *= s
    d *= d
    s_square -= s
    d_square -= d
    luminance = ((s - d) / 2 + _C1) / ((s + d) / 2 + _C1)
    structure = ((s_square - d_square) / 2 + _C2) / ((s_square + d_square) / 2 + _C2)
    return float((luminance * structure).sum())


def _window_means(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    kernel = cv2.getGaussianKernel(_OVERLAP + 1, _SIGMA, cv2.CV_64F)
    means = cv2.sepFilter2D(plane, cv2.CV_64F, kernel, kernel)
    edge = _OVERLAP // 2
    return means[edge:-edge, edge:-edge].astype(np.float64)
