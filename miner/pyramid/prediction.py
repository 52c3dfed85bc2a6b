"""Predict a region of a level from the part of the next coarser level that it depends on."""

from torch import Tensor

from miner.pyramid.resample import expand
from miner.regions import Region, slices


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
