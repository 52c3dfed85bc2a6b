"""Fit a whole pyramid, coarse to fine."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from miner.fitting.level import Coarser, LevelFit
from miner.fitting.settings import FitSettings, at_level
from miner.images.pixel_format import PixelFormat
from miner.models.block_mlp import BlockMLP
from miner.models.block_model import BlockModel
from miner.pyramid import expand, reduce
from miner.representation import MinerRepresentation, Shard, Spec


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
    """Levels of a signal `(C, *S)` in the unit range, to be fitted one after another."""

    def __init__(
        self, signal: Tensor, spec: Spec, settings: FitSettings, device: torch.device
    ) -> None:
        """Build the pyramid of the signal, on the CPU."""
        self.spec, self.settings, self.device = spec, settings, device
        self.signals = [signal]
        for _ in range(spec.n_levels - 1):
            self.signals.append(reduce(self.signals[-1]))
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

    def finish_level(self, fit: LevelFit, shards: Sequence[Shard]) -> Tensor:
        """Render the level from what is stored, and predict the next from it."""
        reconstruction = fit.reconstruct(shards)
        if fit.level > 0:
            sides = self.spec.level_sides[fit.level - 1]
            self._coarser = Coarser(expand(reconstruction, sides), shards)
        return reconstruction


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
