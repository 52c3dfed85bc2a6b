"""Fit a whole pyramid, coarse to fine."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from miner.fitting.level import Coarser, LevelFit, squared_error
from miner.fitting.settings import FitSettings, at_level
from miner.images.pixel_format import PixelFormat
from miner.models.block_mlp import BlockMLP
from miner.models.block_model import BlockModel
from miner.pyramid import ArrayRaster, Raster, reduce
from miner.regions import TILE_SIDE, tiles
from miner.representation import MinerRepresentation, Shard, Spec
from miner.scratch import Scratch


def make_spec(sides: tuple[int, ...], pixel_format: PixelFormat, settings: FitSettings) -> Spec:
    """The representation's geometry and networks for a signal with these sides."""
    n_levels = settings.pyramid.levels_for(sides, settings.patch_size)
    models = []
    for level in reversed(range(n_levels)):
        signed = settings.pyramid.has_signed_target(is_coarsest=level == n_levels - 1)
        mlp = BlockMLP(
            encoding=settings.encoding,
            activation=settings.activation,
            width=at_level(settings.width, level),
            depth=settings.depth,
            n_axes=len(sides),
        )
        models.append(BlockModel(mlp, settings.readout.head(signed), pixel_format.channels))
    return Spec(
        sides=sides,
        n_channels=pixel_format.channels,
        patch_size=settings.patch_size,
        pyramid=settings.pyramid,
        storage=settings.storage,
        models=tuple(models),
        pixel_format=pixel_format,
    )


class PyramidFitter:
    """Levels of a signal in the unit range, to be fitted one after another.

    `scratch` holds the coarser levels of the signal and the reconstructions of the last two levels.
    """

    def __init__(
        self,
        signal: Raster,
        spec: Spec,
        settings: FitSettings,
        device: torch.device,
        scratch: Scratch,
    ) -> None:
        """Build the pyramid of the signal, on the CPU, tile by tile.

        Raises:
            OSError: the disk is full.
        """
        self.spec, self.settings, self.device = spec, settings, device
        self._scratch = scratch
        self.signals: list[Raster] = [signal]
        for level in range(1, spec.n_levels):
            coarser = self._new(f"signal_{level}", level)
            _reduce(self.signals[-1], coarser)
            self.signals.append(coarser)
        self._coarser: Coarser | None = None
        self.kernel = settings.kernel.prepare(
            spec.models, settings.readout, settings.steps_at(0), device
        )

    def start_level(self, level: int) -> LevelFit:
        """Find the active blocks of a level; the coarser ones must be finished."""
        return LevelFit(
            self.spec,
            self.settings,
            self.kernel,
            level,
            self.signals[level],
            self._coarser,
            self.device,
        )

    def finish_level(self, fit: LevelFit, shards: Sequence[Shard]) -> float:
        """Render the level from what is stored, for the next to be predicted from.

        Gives the summed squared error of the level, clipped to the unit range.
        """
        kept = self._new(f"reconstruction_{fit.level}", fit.level) if fit.level > 0 else None
        sse = 0.0
        for region, rendered in fit.reconstruct(shards):
            if kept is not None:
                kept.write(region, rendered)
            sse += squared_error(fit.signal.read(region), rendered.clamp_(0, 1))
        if self._coarser is not None:
            self._scratch.remove(f"reconstruction_{fit.level + 1}")
        if fit.level > 0:
            self._scratch.remove(f"signal_{fit.level}")
        self._coarser = None if kept is None else Coarser(kept, shards)
        return sse

    def _new(self, name: str, level: int) -> ArrayRaster:
        shape = (self.spec.n_channels, *self.spec.level_sides[level])
        return ArrayRaster(self._scratch.array(name, shape, np.float32))


def fit_pyramid(
    fitter: PyramidFitter, on_level: Callable[[LevelFit], None] = lambda fit: None
) -> MinerRepresentation:
    """Fit all levels in this process and keep the representation in memory."""
    shards: dict[int, list[Shard]] = {}
    for level in reversed(range(fitter.spec.n_levels)):
        fit = fitter.start_level(level)
        on_level(fit)
        shards[level] = [fit.fit_chunk(chunk) for chunk in range(len(fit.chunks))]
        fitter.finish_level(fit, shards[level])
    return MinerRepresentation(fitter.spec, shards)


def _reduce(signal: Raster, coarser: ArrayRaster) -> None:
    for region in tiles(coarser.sides, TILE_SIDE // 2):
        finer = tuple(
            (2 * low, min(2 * high, side))
            for (low, high), side in zip(region, signal.sides, strict=True)
        )
        coarser.write(region, reduce(signal.read(finer)))
