"""Scores of what is stored, tile by tile."""

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor

from miner.metrics.scores import TileMetrics, extended
from miner.representation import Representation
from miner.signals.regions import Region, sides_of
from miner.signals.signal import CPU


class ScoredTile(NamedTuple):
    """A tile as it was and as it is rendered, `(C, *S)`, and the squared error, `(*S)`."""

    target: Tensor
    preds: Tensor
    squared_error: Tensor


class Evaluation:
    """Renders level 0 in plain PyTorch and scores it, tile by tile.

    `region`s are those of `signals.regions.tiles`, each once.
    """

    def __init__(self, representation: Representation, device: torch.device = CPU) -> None:
        spec = representation.spec
        self._representation, self._device = representation, device
        self._metrics = TileMetrics(spec.sides, spec.n_channels, spec.patch_size)
        self._render_time_s = 0.0

    def add(self, region: Region, source: Tensor) -> ScoredTile:
        """Score a tile; `source` is the image `(C, *S)` in the box that `extended` gives."""
        around = extended(region, self._representation.spec.sides)
        began = time.perf_counter()
        rendered = self._representation.reconstruct(0, around, self._device).clamp_(0, 1).cpu()
        self._render_time_s += time.perf_counter() - began
        error = self._metrics.add(region, source, rendered)
        inner = (slice(None), *map(slice, sides_of(region)))
        return ScoredTile(source[inner], rendered[inner], error)

    @property
    def scores(self) -> dict[str, Any]:
        """Scores by their names in the report, once all tiles were added."""
        return {
            "psnr_db": self._metrics.psnr_db,
            "ssim": self._metrics.ssim,
            "seam_ratio": self._metrics.seam_ratio,
            "render_time_s": self._render_time_s,
        }
