"""The base of metrics that a run adds to its scores: torchmetrics' interface, tile by tile."""

from abc import abstractmethod

from torch import Tensor
from torchmetrics import Metric

from miner.signals.regions import Region


class TileMetric(Metric):
    """A score of what is stored, from tiles of the finest level that cover it once, in any order.

    torchmetrics gathers the state of several ranks. `halo` counts the pixels after a tile that
    `update` needs. At masked pixels `preds` has the values of `target`. Unless `higher_is_better`
    is False, the fronts of a comparison lead upwards.
    """

    halo: int = 0

    @abstractmethod
    def update(self, preds: Tensor, target: Tensor, tile: Region, sides: tuple[int, ...]) -> None:
        """Add a tile of an image: `(C, *S)` in [0, 1], on the CPU, with its halo in the image."""

    @abstractmethod
    def compute(self) -> Tensor | float | None:
        """The score; None where it is undefined."""
