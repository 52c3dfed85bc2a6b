"""Pyramids of signals: reduce and expand, targets of a level, patches and their coordinates."""

from miner.pyramid.grid import Frame, Grid, coordinates
from miner.pyramid.pyramids import GaussianPyramid, LaplacianPyramid, Pyramid
from miner.pyramid.raster import (
    ArrayRaster,
    ExpandedRaster,
    Raster,
    SourceRaster,
    ZeroRaster,
)
from miner.pyramid.resample import expand, half, reduce

__all__ = [
    "ArrayRaster",
    "ExpandedRaster",
    "Frame",
    "GaussianPyramid",
    "Grid",
    "LaplacianPyramid",
    "Pyramid",
    "Raster",
    "SourceRaster",
    "ZeroRaster",
    "coordinates",
    "expand",
    "half",
    "reduce",
]
