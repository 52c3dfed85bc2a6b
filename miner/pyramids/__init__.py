"""Pyramids: reduce and expand, what the blocks of a level fit, and how levels are merged."""

from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid, Pyramid

__all__ = ["GaussianPyramid", "LaplacianPyramid", "Pyramid"]
