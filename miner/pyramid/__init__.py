"""Pyramids of signals: reduce and expand, targets of a level, patches and their coordinates."""

from miner.pyramid.ahead import read_ahead
from miner.pyramid.grid import Frame, Grid, coordinates
from miner.pyramid.pyramids import GaussianPyramid, LaplacianPyramid, Pyramid
from miner.pyramid.raster import (
    ArrayRaster,
    ExpandedRaster,
    Raster,
    SourceRaster,
    TensorRaster,
    UploadedRaster,
    WritableRaster,
    ZeroRaster,
)
from miner.pyramid.resample import expand, half, reduce
from miner.pyramid.room import RasterRoom, Room
from miner.pyramid.shared import SharedRaster, SharedRoom

__all__ = [
    "ArrayRaster",
    "ExpandedRaster",
    "Frame",
    "GaussianPyramid",
    "Grid",
    "LaplacianPyramid",
    "Pyramid",
    "Raster",
    "RasterRoom",
    "Room",
    "SharedRaster",
    "SharedRoom",
    "SourceRaster",
    "TensorRaster",
    "UploadedRaster",
    "WritableRaster",
    "ZeroRaster",
    "coordinates",
    "expand",
    "half",
    "read_ahead",
    "reduce",
]
