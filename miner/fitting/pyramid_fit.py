"""Fit a whole pyramid, coarse to fine."""

from collections.abc import Callable, Sequence

from miner.fitting.device import as_numbers
from miner.fitting.level_fit import CoarserLevel, LevelFit, squared_error
from miner.fitting.settings import FitSettings, at_level
from miner.images.pixel_format import PixelFormat
from miner.models.network import BlockMLP, BlockNetwork
from miner.pyramids.resample import reduce
from miner.representation import Representation, Shard, Spec
from miner.signals.regions import tile_side, tiles
from miner.signals.signal import Signal, WritableSignal, prefetch
from miner.signals.store import SignalStore
from miner.support.communication import SINGLE_PROCESS, Communicator, gather_items, items_of_rank


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
        models.append(BlockNetwork(mlp, settings.readout.head(signed), pixel_format.channels))
    return Spec(
        sides=sides,
        n_channels=pixel_format.channels,
        patch_size=settings.patch_size,
        pyramid=settings.pyramid,
        storage=settings.storage,
        models=tuple(models),
        pixel_format=pixel_format,
    )


class PyramidFit:
    """Levels of a signal in the unit range, to be fitted one after another.

    `room` holds the coarser levels of the signal and the reconstructions of the last two levels.
    Several processes share out the tiles of all that is made and scored: each then reads in the
    room what the others have made.
    """

    def __init__(
        self,
        signal: Signal,
        spec: Spec,
        settings: FitSettings,
        signal_store: SignalStore,
        ranks: Communicator = SINGLE_PROCESS,
    ) -> None:
        """Build the pyramid of the signal, on the device, tile by tile.

        Raises:
            OSError: the disk is full.
        """
        self.spec, self.settings, self.device = spec, settings, signal_store.device
        self._signal_store, self._ranks = signal_store, ranks
        self.signals: list[Signal] = [signal_store.to_device("signal_0", signal)]
        for level in range(1, spec.n_levels):
            coarser = self._new(f"signal_{level}", level)
            _reduce(self.signals[-1], coarser, ranks)
            self.signals.append(coarser)
        self._coarser: CoarserLevel | None = None
        self.backend = settings.backend.prepare(
            spec.models, settings.readout, settings.steps_at(0), signal_store.device
        )

    def start_level(self, level: int) -> LevelFit:
        """Find the active blocks of a level; the coarser ones must be finished."""
        return LevelFit(
            self.spec,
            self.settings,
            self.backend,
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
        own = items_of_rank(self._ranks, fit.tiles)
        errors = []
        tiles = zip(own, fit.reconstruct(shards, own), prefetch(fit.signal, own), strict=True)
        for region, rendered, signal in tiles:
            if kept is not None:
                kept.write(region, rendered)
            errors.append(squared_error(signal, rendered.clamp_(0, 1)))
        sse = sum(gather_items(self._ranks, as_numbers(errors)), 0.0)
        if self._coarser is not None:
            self._signal_store.remove(f"reconstruction_{fit.level + 1}")
        if fit.level > 0:
            self._signal_store.remove(f"signal_{fit.level}")
            del self.signals[fit.level :]
        self._coarser = None if kept is None else CoarserLevel(kept, shards)
        return sse

    def _new(self, name: str, level: int) -> WritableSignal:
        return self._signal_store.new(name, self.spec.n_channels, self.spec.level_sides[level])


def fit_pyramid(
    fitter: PyramidFit, on_level: Callable[[LevelFit], None] = lambda fit: None
) -> Representation:
    """Fit all levels in this process and keep the representation in memory."""
    shards: dict[int, list[Shard]] = {}
    for level in reversed(range(fitter.spec.n_levels)):
        fit = fitter.start_level(level)
        on_level(fit)
        shards[level] = [fit.fit_chunk(chunk) for chunk in range(len(fit.chunks))]
        fitter.finish_level(fit, shards[level])
    return Representation(fitter.spec, shards)


def _reduce(signal: Signal, coarser: WritableSignal, ranks: Communicator) -> None:
    side = tile_side(coarser.device.type, coarser.n_channels) // 2
    regions = items_of_rank(ranks, list(tiles(coarser.sides, side)))
    finer = [
        tuple(
            (2 * low, min(2 * high, side))
            for (low, high), side in zip(region, signal.sides, strict=True)
        )
        for region in regions
    ]
    for region, values in zip(regions, prefetch(signal, finer), strict=True):
        coarser.write(region, reduce(values))
    ranks.gather(None)  # others' tiles are read from here on
