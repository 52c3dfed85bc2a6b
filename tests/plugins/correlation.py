"""A metric of torchmetrics, which knows nothing of images or tiles."""

from torch import Tensor
from torchmetrics.regression import PearsonCorrCoef

from miner.metrics.base import TileMetric
from miner.signals.regions import Region


class Correlation(TileMetric):
    """Pearson's correlation of the values before and after; not a number for a flat image."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = PearsonCorrCoef()

    def update(self, preds: Tensor, target: Tensor, tile: Region, sides: tuple[int, ...]) -> None:
        self.inner.update(preds.flatten(), target.flatten())

    def compute(self) -> Tensor:
        return self.inner.compute()
