"""Scores of a representation, tile by tile."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.metrics.squared_error import Seams, SquaredError
from miner.metrics.ssim import WINDOW, ssim_sum
from miner.representation import Representation
from miner.signals.regions import Region, sides_of, tiles
from miner.signals.signal import CPU, Signal

OVERLAP = WINDOW - 1
"""Pixels beyond a tile that the windows reach which begin in it."""


def extended(tile: Region, sides: Sequence[int]) -> Region:
    """A tile and what lies up to `OVERLAP` pixels after it, within the image."""
    return tuple(
        (first, min(end + OVERLAP, side)) for (first, end), side in zip(tile, sides, strict=True)
    )


class TileMetrics:
    """Sums over the tiles of an image, each of which is added once."""

    def __init__(self, sides: Sequence[int], n_channels: int, patch_size: int) -> None:
        """Take the image's shape and the side of its patches.

        Raises:
            ValueError: `patch_size` is below 1.
        """
        self._sides, self._n_channels = tuple(sides), n_channels
        self._squared_error, self._seams = SquaredError(), Seams(sides, patch_size)
        self._similarity = 0.0

    def add(self, tile: Region, source: Tensor, reconstruction: Tensor) -> None:
        """Add a tile, of which `(C, *S)` in the unit range are given as far as `extended` says.

        Raises:
            ValueError: the tensors have another shape.
        """
        shape = (self._n_channels, *sides_of(extended(tile, self._sides)))
        for given in (source, reconstruction):
            if tuple(given.shape) != shape:
                raise ValueError(
                    f"shape {tuple(given.shape)}: the tile {tile} and the pixels after it, as "
                    f"far as `extended` says, are {shape}"
                )
        own = (slice(None), *(slice(0, end - first) for first, end in tile))
        self._seams.add(tile, self._squared_error.add(source[own], reconstruction[own]))
        if len(self._sides) == 2:
            self._similarity += ssim_sum(source.numpy(), reconstruction.numpy())

    @property
    def psnr_db(self) -> float:
        """Peak signal-to-noise ratio over all pixels and channels; infinite if all are equal."""
        return self._squared_error.psnr_db

    @property
    def ssim(self) -> float | None:
        """Mean over channels and full windows; None if a side is below 11 pixels, or no image."""
        n_windows = math.prod(max(0, side - OVERLAP) for side in self._sides)
        if len(self._sides) != 2 or n_windows == 0:
            return None
        return self._similarity / (self._n_channels * n_windows)

    @property
    def seam_ratio(self) -> float | None:
        """Error at the borders of patches over error elsewhere; see `Seams.ratio`."""
        return self._seams.ratio


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
    representation: Representation,
    source: Signal,
    on_tile: OnTile,
    device: torch.device = CPU,
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
    tally, seconds = TileMetrics(spec.sides, spec.n_channels, spec.patch_size), 0.0
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
