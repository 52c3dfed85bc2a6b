"""Scores of a representation against its source, in one pass over tiles."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.evaluation.tally import Tally, extended
from miner.pyramid.raster import HOST, Raster
from miner.regions import Region, tiles
from miner.representation import MinerRepresentation

OnTile = Callable[[Region, Tensor, Tensor], None]
"""Takes a tile, the source in it and the rendering of it: `(C, *S)`, the latter clipped."""


@dataclass(frozen=True)
class Scores:
    """Quality over all real pixels, and how long rendering took."""

    psnr_db: float
    ssim: float | None
    seam_ratio: float | None
    render_time_s: float


def score(
    representation: MinerRepresentation,
    source: Raster,
    on_tile: OnTile,
    device: torch.device = HOST,
) -> Scores:
    """Render level 0 tile by tile and compare it with the source; the tiles come row-major.

    Rendering is plain PyTorch on the device, whatever program has fitted.

    Raises:
        ValueError: the source has another shape than the representation.
    """
    spec = representation.spec
    if (source.n_channels, *source.sides) != (spec.n_channels, *spec.sides):
        raise ValueError(
            f"source {(source.n_channels, *source.sides)}: the representation is of an image "
            f"{(spec.n_channels, *spec.sides)}, give that one"
        )
    tally, seconds = Tally(spec.sides, spec.n_channels, spec.patch_size), 0.0
    for tile in tiles(spec.sides):
        around = extended(tile, spec.sides)
        began = time.perf_counter()
        rendered = representation.reconstruct(0, around, device).clamp_(0, 1).cpu()
        seconds += time.perf_counter() - began
        wanted = source.read(around)
        tally.add(tile, wanted, rendered)
        own = (slice(None), *(slice(0, end - first) for first, end in tile))
        on_tile(tile, wanted[own], rendered[own])
    return Scores(tally.psnr_db, tally.ssim, tally.seam_ratio, seconds)
