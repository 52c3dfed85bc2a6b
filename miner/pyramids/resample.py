"""Levels that are reduced and expanded where they are read; a region has the bits of the whole."""

import torch
from torch import Tensor

from miner.pyramids.pyramid import Pyramid
from miner.signals.regions import TILE_SIDE, Region, extended, shifted, sides_of, slices, tiles
from miner.signals.signal import ArraySignal, Signal, SourceSignal


def reduced_signal(pyramid: Pyramid, finer: Signal) -> Signal:
    """The next coarser level of a signal, from parts of it with a halo of whole coarser pixels."""
    n_channels, *sides = pyramid.level_shape(1, finer.sides, finer.n_channels)
    halo = -(-pyramid.reduce_reach // 2)

    def read(region: Region) -> Tensor:
        if max(sides_of(region)) > TILE_SIDE:  # what it is reduced of is never there as a whole
            values = torch.empty(n_channels, *sides_of(region), device=finer.device)
            for part in tiles(sides_of(region)):
                values[(slice(None), *slices(part))] = read(shifted(part, region))
            return values
        around = extended(region, sides, halo, halo)
        halves = zip(around, finer.sides, strict=True)
        source = tuple((2 * low, min(2 * high, side)) for (low, high), side in halves)
        reduced = pyramid.reduce(finer.read(source))
        return reduced[(slice(None), *slices(region, around))].contiguous()

    return SourceSignal(read, n_channels, sides, finer.device)


def predicted_signal(
    pyramid: Pyramid, coarser: Signal | None, shape: tuple[int, ...], device: torch.device
) -> Signal:
    """The prediction of a level `(C, *S)`: zero, or parts of the next coarser one with a halo."""
    if coarser is None:  # at the coarsest level; takes no memory
        return ArraySignal(torch.zeros((), device=device).expand(shape))

    def read(region: Region) -> Tensor:
        above = tuple((low // 2, (high - 1) // 2 + 1) for low, high in region)
        around = extended(above, coarser.sides, pyramid.expand_reach, pyramid.expand_reach)
        doubled = tuple((2 * low, 2 * high) for low, high in around)
        expanded = pyramid.expand(coarser.read(around), sides_of(doubled))
        return expanded[(slice(None), *slices(region, doubled))].contiguous()

    return SourceSignal(read, shape[0], shape[1:], device)
