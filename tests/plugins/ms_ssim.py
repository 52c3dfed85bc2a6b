"""MS-SSIM, tile by tile: windows at five scales, of which each counts in one tile."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from miner.metrics.base import TileMetric
from miner.signals.regions import Region

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest scale first
WINDOW, SIGMA, C1, C2 = 11, 1.5, 0.01**2, 0.03**2
LEAST_SIDE = WINDOW * 2 ** (len(WEIGHTS) - 1)  # where the coarsest scale is one window


class MultiScaleSSIM(TileMetric):
    """MS-SSIM (Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216) as torchmetrics computes it.

    Undefined for a volume, and below 176 pixels a side. A window counts in the tile that holds its
    first pixel, so that tiles may begin and end anywhere. Those of the coarsest scale reach beyond
    the image, which is mirrored there.
    """

    halo = LEAST_SIDE - 1  # from the last pixel of a tile to the end of the window that it begins
    higher_is_better = True

    def __init__(self) -> None:
        super().__init__()
        for name in ("sums", "counts"):  # of each scale's windows
            self.add_state(name, torch.zeros(len(WEIGHTS), dtype=torch.float64), "sum")

    def update(self, preds: Tensor, target: Tensor, tile: Region, sides: tuple[int, ...]) -> None:
        if len(sides) != 2 or min(sides) < LEAST_SIDE:
            return
        both, last = torch.stack([target, preds]).double(), len(WEIGHTS) - 1
        for scale in range(len(WEIGHTS)):
            edge = 0 if scale == last else WINDOW // 2  # pixels whose windows do not count
            firsts = [-(-low // 2**scale) for low, _ in tile]
            own = []
            for first, (_, end), side in zip(firsts, tile, sides, strict=True):
                centres = min(-(-end // 2**scale) + WINDOW // 2, side // 2**scale - edge) - first
                own.append(slice(WINDOW // 2 if first else edge, max(0, centres)))
            for x, y in zip(*both.numpy(), strict=True):
                luminance, structure = similarity(x, y)
                counted = (luminance * structure if scale == last else structure)[tuple(own)]
                self.sums[scale] += counted.sum()
                self.counts[scale] += counted.size
            both = both[(..., *(slice(first % 2, None) for first in firsts))]
            if min(both.shape[-2:]) < 2:  # the coarser pixels here belong to other tiles
                break
            both = F.avg_pool2d(both, 2)

    def compute(self) -> Tensor | None:
        if not self.counts.all():
            return None
        means = (self.sums / self.counts).clamp(min=0)
        return (means ** torch.tensor(WEIGHTS, dtype=torch.float64)).prod()


def similarity(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """SSIM's factors, luminance and structure, around each pixel of a mirrored plane."""
    kernel = cv2.getGaussianKernel(WINDOW, SIGMA)

    def means(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        return cv2.sepFilter2D(plane, -1, kernel, kernel)

    x_mean, y_mean = means(x), means(y)
    covariance = means(x * y) - x_mean * y_mean
    variances = means(x * x) - x_mean**2 + means(y * y) - y_mean**2
    luminance = (2 * x_mean * y_mean + C1) / (x_mean**2 + y_mean**2 + C1)
    return luminance, (2 * covariance + C2) / (variances + C2)
