"""Levels that are reduced and expanded where they are read; a region has the bits of the whole."""

import torch
from torch import Tensor

from miner.pyramids.pyramid import Pyramid
from miner.signals.regions import Region, sides_of, slices
from miner.signals.signal import ArraySignal, Signal


def zero_signal(n_channels: int, sides: tuple[int, ...], device: torch.device) -> Signal:
    """The prediction of the coarsest level, which takes no memory."""
    return ArraySignal(torch.zeros((), device=device).expand(n_channels, *sides))


class ReducedSignal(Signal):
    """The next coarser level of a signal."""

    def __init__(self, pyramid: Pyramid, finer: Signal) -> None:
        n_channels, *sides = pyramid.level_shape(1, finer.sides, finer.n_channels)
        super().__init__(n_channels, sides, finer.device)
        self._pyramid, self._finer = pyramid, finer

    def read(self, region: Region) -> Tensor:
        """Reduce a part of the finer level, with a halo of whole coarser pixels."""
        reach = -(-self._pyramid.reduce_reach // 2)
        around = _with_halo(region, self.sides, reach)
        sides = zip(around, self._finer.sides, strict=True)
        finer = tuple((2 * low, min(2 * high, side)) for (low, high), side in sides)
        reduced = self._pyramid.reduce(self._finer.read(finer))
        return reduced[(slice(None), *slices(region, around))].contiguous()


class ExpandedSignal(Signal):
    """The prediction of a level with these sides from the next coarser level."""

    def __init__(self, pyramid: Pyramid, coarser: Signal, sides: tuple[int, ...]) -> None:
        super().__init__(coarser.n_channels, sides, coarser.device)
        self._pyramid, self._coarser = pyramid, coarser

    def read(self, region: Region) -> Tensor:
        """Expand a part of the coarser level, with a halo."""
        above = tuple((low // 2, (high - 1) // 2 + 1) for low, high in region)
        around = _with_halo(above, self._coarser.sides, self._pyramid.expand_reach)
        doubled = tuple((2 * low, 2 * high) for low, high in around)
        expanded = self._pyramid.expand(self._coarser.read(around), sides_of(doubled))
        return expanded[(slice(None), *slices(region, doubled))].contiguous()


def _with_halo(region: Region, sides: tuple[int, ...], reach: int) -> Region:
    return tuple(
        (max(0, low - reach), min(side, high + reach))
        for (low, high), side in zip(region, sides, strict=True)
    )
