"""Fit a whole pyramid, coarse to fine."""

from collections.abc import Callable, Sequence

from miner.exchange import ALONE, Exchange, collect, share
from miner.fitting.level import Coarser, LevelFit, squared_error
from miner.fitting.settings import FitSettings, at_level
from miner.fitting.transfer import as_numbers
from miner.images.pixel_format import PixelFormat
from miner.models.block_mlp import BlockMLP
from miner.models.block_model import BlockModel
from miner.pyramid import Raster, Room, WritableRaster, read_ahead, reduce
from miner.regions import tile_side, tiles
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
    """Levels of a signal in the unit range, to be fitted one after another.

    `room` holds the coarser levels of the signal and the reconstructions of the last two levels.
    Several processes share out the tiles of all that is made and scored: each then reads in the
    room what the others have made.
    """

    def __init__(
        self,
        signal: Raster,
        spec: Spec,
        settings: FitSettings,
        room: Room,
        ranks: Exchange = ALONE,
    ) -> None:
        """Build the pyramid of the signal, on the device, tile by tile.

        Raises:
            OSError: the disk is full.
        """
        self.spec, self.settings, self.device = spec, settings, room.device
        self._room, self._ranks = room, ranks
        self.signals: list[Raster] = [room.brought("signal_0", signal)]
        for level in range(1, spec.n_levels):
            coarser = self._new(f"signal_{level}", level)
            _reduce(self.signals[-1], coarser, ranks)
            self.signals.append(coarser)
        self._coarser: Coarser | None = None
        self.kernel = settings.kernel.prepare(
            spec.models, settings.readout, settings.steps_at(0), room.device
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
            self._ranks,
        )

    def finish_level(self, fit: LevelFit, shards: Sequence[Shard]) -> float:
        """Render the level from what is stored, for the next to be predicted from.

        Gives the summed squared error of the level, clipped to the unit range.
        """
        kept = self._new(f"reconstruction_{fit.level}", fit.level) if fit.level > 0 else None
        own = share(self._ranks, fit.tiles)
        errors = []
        tiles = zip(own, fit.reconstruct(shards, own), read_ahead(fit.signal, own), strict=True)
        for region, rendered, signal in tiles:
            if kept is not None:
                kept.write(region, rendered)
            errors.append(squared_error(signal, rendered.clamp_(0, 1)))
        sse = sum(collect(self._ranks, as_numbers(errors)), 0.0)
        if self._coarser is not None:
            self._room.remove(f"reconstruction_{fit.level + 1}")
        if fit.level > 0:
            self._room.remove(f"signal_{fit.level}")
            del self.signals[fit.level :]
        self._coarser = None if kept is None else Coarser(kept, shards)
        return sse

    def _new(self, name: str, level: int) -> WritableRaster:
        return self._room.new(name, self.spec.n_channels, self.spec.level_sides[level])


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


def _reduce(signal: Raster, coarser: WritableRaster, ranks: Exchange) -> None:
    side = tile_side(coarser.device.type, coarser.n_channels) // 2
    regions = share(ranks, list(tiles(coarser.sides, side)))
    finer = [
        tuple(
            (2 * low, min(2 * high, side))
            for (low, high), side in zip(region, signal.sides, strict=True)
        )
        for region in regions
    ]
    for region, values in zip(regions, read_ahead(signal, finer), strict=True):
        coarser.write(region, reduce(values))
    ranks.gather(None)  # others' tiles are read from here on
