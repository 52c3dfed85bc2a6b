"""Metrics of images that are scored in tiles, as a run does it, and the options of this folder."""

from pathlib import Path

import torch
from torch import Tensor

from miner.metrics.base import TileMetric
from miner.metrics.scores import Evaluation
from miner.signals.grid import PatchGrid
from miner.signals.regions import extended, slices, tiles

ROOT, CONF = Path(__file__).parents[2], Path(__file__).parent / "conf"
OPTIONS = f"hydra.searchpath=['file://{CONF}']"


def images(*shape: int) -> tuple[Tensor, Tensor]:
    """A smooth image with some noise, and it with more noise."""
    generator = torch.Generator().manual_seed(0)
    ramps = [torch.linspace(0.2, 0.6, side) for side in shape[1:]]
    smooth = sum(torch.meshgrid(*ramps, indexing="ij")) / len(ramps)
    target = (smooth + 0.1 * torch.rand(shape, generator=generator)).clamp(0, 1)
    return target, (target + 0.05 * torch.randn(shape, generator=generator)).clamp(0, 1)


def tiled(metric: TileMetric, target: Tensor, preds: Tensor, side: int) -> float | None:
    """The metric's score of two images `(C, *S)`, from tiles of this side."""
    sides = tuple(target.shape[1:])
    evaluation = Evaluation(PatchGrid(sides, 4), len(target), {"mine": metric})
    for tile in tiles(sides, side):
        box = (slice(None), *slices(extended(tile, sides, evaluation.reach)))
        evaluation.add(tile, target[box], preds[box])
    return evaluation.scores()["mine"]
