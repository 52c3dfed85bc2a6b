"""Predict a region of a level from the part of the next coarser level that it depends on."""

import torch
from torch import Tensor

from miner.pyramids.resample import expand
from miner.signals.regions import Region, sides_of, slices
from miner.signals.signal import CPU, Signal


def halo(region: Region, coarser_sides: tuple[int, ...]) -> Region:
    """The part of the next coarser level that interpolation over a region reads."""
    return tuple(
        (max(0, low // 2 - 1), min(side, (high - 1) // 2 + 2))
        for (low, high), side in zip(region, coarser_sides, strict=True)
    )


def predict(coarser: Tensor, coarser_first: tuple[int, ...], region: Region) -> Tensor:
    """Expand a part of the next coarser level, which begins at `coarser_first`, over a region."""
    doubled = expand(coarser, tuple(2 * side for side in coarser.shape[1:]))
    crop = tuple(
        (low - 2 * start, high - 2 * start)
        for (low, high), start in zip(region, coarser_first, strict=True)
    )
    return doubled[(slice(None), *slices(crop))].contiguous()


class ZeroSignal:
    """What is known before anything is fitted."""

    def __init__(self, n_channels: int, sides: tuple[int, ...], device: torch.device = CPU) -> None:
        """Take its shape, and where its zeros are to lie."""
        self.n_channels, self.sides, self.device = n_channels, sides, device

    def read(self, region: Region) -> Tensor:
        """Zeros."""
        return torch.zeros(self.n_channels, *sides_of(region), device=self.device)


class ExpandedSignal:
    """The prediction of a level: the coarser one expanded, region by region."""

    def __init__(self, coarser: Signal, sides: tuple[int, ...]) -> None:
        """Take the next coarser level and the sides of the level that it predicts."""
        self._coarser, self.sides = coarser, sides
        self.n_channels, self.device = coarser.n_channels, coarser.device

    def read(self, region: Region) -> Tensor:
        """The same bits in any region."""
        around = halo(region, self._coarser.sides)
        first = tuple(low for low, _ in around)
        return predict(self._coarser.read(around), first, region)
