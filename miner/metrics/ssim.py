"""Structural similarity, summed over tiles.

Wang et al. 2004 (doi:10.1109/TIP.2003.819861): Gaussian windows of 11 x 11 pixels, sigma 1.5, data
range 1; windows that reach over the border are left out.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

WINDOW = 11
"""Pixels along a side of a window."""

_SIGMA = 1.5
_BAND = 128  # rows of windows at once: temporaries stay small, and in the cache
_C1, _C2 = 0.01**2, 0.03**2


def ssim_sum(source: NDArray[np.float32], reconstruction: NDArray[np.float32]) -> float:
    """Sum of the similarity over the full windows and channels of two `(C, H, W)` images.

    Both in the unit range. Each pixel with 10 more below it and 10 to its right has a window; gives
    0 where there is none.
    """
    if min(source.shape[1:]) < WINDOW:
        return 0.0
    overlap = WINDOW - 1
    tops = range(0, source.shape[1] - overlap, _BAND)
    bands = [slice(top, top + _BAND + overlap) for top in tops]
    return sum(
        _band_sum(one[band], other[band])
        for one, other in zip(source, reconstruction, strict=True)
        for band in bands
    )


def _band_sum(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The sum for some rows of one channel.

    With x and y the values, of s = x + y and d = x - y only means and mean squares are needed:
    4 mean(x) mean(y) = mean(s)^2 - mean(d)^2, and likewise for the covariance.
    """
    x, y = one.astype(np.float64), other.astype(np.float64)
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
    """Weighted means over the full windows of `(H, W)`, 10 fewer along each axis."""
    kernel = cv2.getGaussianKernel(WINDOW, _SIGMA, cv2.CV_64F)
    edge = WINDOW // 2
    means = cv2.sepFilter2D(plane, cv2.CV_64F, kernel, kernel)
    return means[edge:-edge, edge:-edge].astype(np.float64)
