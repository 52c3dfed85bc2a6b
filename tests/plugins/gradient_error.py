"""How far edges are from what they were: a metric with a halo."""

import torch
from torch import Tensor

from miner.metrics.base import TileMetric
from miner.signals.regions import Region, sides_of


class GradientError(TileMetric):
    """Root mean square error of the length of the gradient, by differences to the next pixels."""

    halo = 1
    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sse", torch.zeros((), dtype=torch.float64), "sum")
        self.add_state("n_values", torch.zeros((), dtype=torch.float64), "sum")

    def update(self, preds: Tensor, target: Tensor, tile: Region, sides: tuple[int, ...]) -> None:
        error = gradient(preds.double()) - gradient(target.double())
        error = error[(slice(None), *map(slice, sides_of(tile)))]
        self.sse += error.square().sum()
        self.n_values += error.numel()

    def compute(self) -> Tensor | None:
        return (self.sse / self.n_values).sqrt() if self.n_values else None


def gradient(values: Tensor) -> Tensor:
    """Length of the gradient at the pixels `(C, *S - 1)` that have a next one along each axis."""
    inner = (slice(None), *(slice(side - 1) for side in values.shape[1:]))
    axes = range(1, values.ndim)
    return sum(values.diff(dim=axis)[inner].square() for axis in axes).sqrt()
