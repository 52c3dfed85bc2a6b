"""The levels of a pyramid: what is fitted at each, and what is predicted from it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from miner.fitting.device import ComputeDevice
from miner.fitting.level_fit import LevelFit
from miner.fitting.settings import FitSettings, LevelContext, at_level
from miner.fitting.steps import BlockProblem
from miner.images.pixel_format import PixelFormat
from miner.pyramids.resample import ExpandedSignal, ReducedSignal, zero_signal
from miner.representation import LevelNetwork, Shard, Spec
from miner.representation.rendering import ShardIndex, render_level
from miner.signals.regions import Region, extended, slices, tiles
from miner.signals.signal import Signal, WritableSignal, prefetch
from miner.signals.store import SignalStore
from miner.support.communication import SINGLE_PROCESS, Communicator, items_of_rank


def make_spec(sides: tuple[int, ...], pixel_format: PixelFormat, settings: FitSettings) -> Spec:
    """The representation's geometry and networks for a signal with these sides."""
    n_levels = settings.pyramid.levels_for(sides, settings.patch_size)
    models = []
    for level in reversed(range(n_levels)):
        head = settings.readout.head(settings.pyramid.is_signed(level == n_levels - 1))
        model = replace(settings.model, width=at_level(settings.width, level))
        models.append(LevelNetwork(model, head))
    return Spec(
        sides=sides,
        n_channels=pixel_format.channels,
        patch_size=settings.patch_size,
        pyramid=settings.pyramid,
        storage=settings.storage,
        models=tuple(models),
        pixel_format=pixel_format,
    )


def prepare_backend(settings: FitSettings, spec: Spec, device: torch.device) -> FitSettings:
    """The settings with a backend that can fit these networks on the device."""
    backend, steps = settings.backend, replace(settings.steps_at(0), n_steps=1)
    for level in range(spec.n_levels):
        network = spec.model(level)
        shapes = network.shapes().items()
        start = {name: torch.zeros(1, *shape, device=device) for name, shape in shapes}
        encoded = torch.zeros(network.n_inputs, 64, device=device)
        targets = torch.zeros(1, network.n_channels, 64, device=device)
        given = network, settings.readout, steps, encoded, targets, start
        backend = backend.prepare(BlockProblem(*given))
    return replace(settings, backend=backend)


class PyramidFit:
    """Levels of a signal in the unit range, to be fitted one after another.

    The store holds the coarser levels of the signal and the reconstructions of two levels; each
    process computes some tiles and reads those of the others there. `settings` are those of
    `prepare_backend`.
    """

    def __init__(
        self,
        signal: Signal,
        spec: Spec,
        settings: FitSettings,
        signal_store: SignalStore,
        ranks: Communicator = SINGLE_PROCESS,
        n_threads: int | None = None,
    ) -> None:
        """Build the pyramid of the signal, on the device; `OSError` where the disk is full."""
        self.spec, self.device = spec, signal_store.device
        self._store, self._ranks = signal_store, ranks
        self._n_threads, self._tile_side = n_threads, signal_store.tile_side_for(spec.n_channels)
        self.signals: list[Signal] = [signal_store.to_device("signal_0", signal)]
        for level in range(1, spec.n_levels):
            coarser = self.new_signal(f"signal_{level}", level)
            self._reduce(self.signals[-1], coarser)
            self.signals.append(coarser)
        self._coarser: tuple[Signal, ShardIndex] | None = None  # reconstruction and shards
        self.settings = settings

    def start_level(self, level: int) -> LevelFit:
        """Find the active blocks of a level; the coarser ones must be finished."""
        spec, device = self.spec, self.device
        sides, parents = spec.level_sides[level], ShardIndex(spec.grid(level), ())
        prediction = zero_signal(spec.n_channels, sides, device)
        if self._coarser is not None:
            reconstruction, parents = self._coarser
            prediction = ExpandedSignal(spec.pyramid, reconstruction, sides)
        compute = ComputeDevice(device, self.settings.max_memory_gib, self._n_threads)
        context = LevelContext(spec, self.settings, level, compute, parents)
        return LevelFit(context, self.signals[level], prediction, self._tile_side, self._ranks)

    def start_rendering(self, fit: LevelFit, shards: Sequence[Shard]) -> None:
        """Render a level from what is stored: `render` gets each of the `level_tiles`."""
        self._fit, self._shards, level = fit, ShardIndex(fit.grid, shards), fit.level
        self._kept = self.new_signal(f"reconstruction_{level}", level) if level > 0 else None

    def level_tiles(self, margin: int = 0) -> Iterator[tuple[Region, Region, Tensor]]:
        """This rank's tiles of the level that is rendered.

        Gives each region, what `extended` makes of it with a margin, and the signal there.
        """
        regions = items_of_rank(self._ranks, self._fit.tiles)
        boxes = [extended(region, self._fit.grid.sides, margin) for region in regions]
        yield from zip(regions, boxes, prefetch(self._fit.signal, boxes), strict=True)

    def render(self, region: Region, box: Region) -> Tensor:
        """Render a tile, and keep it for the prediction of the next level.

        Gives what the box holds then, `(C, *S)` clipped to the unit range, on the device.
        """
        fit, outputs, whole = self._fit, self.settings.backend.outputs, self._fit.grid.around(box)
        rendered = render_level(self.spec, fit.level, self._shards, fit.prediction, whole, outputs)
        rendered = rendered[(slice(None), *slices(box, whole))]
        if self._kept is not None:
            self._kept.write(region, rendered[(slice(None), *slices(region, box))])
        return rendered.clamp(0, 1)

    def finish_level(self) -> None:
        """Free what the next level does not need, once all ranks have rendered their tiles."""
        level = self._fit.level
        if self._coarser is not None:
            self._store.remove(f"reconstruction_{level + 1}")
        if level > 0:
            self._store.remove(f"signal_{level}")
            del self.signals[level:]
        self._coarser = None if self._kept is None else (self._kept, self._shards)

    def new_signal(self, name: str, level: int) -> WritableSignal:
        """A signal with the sides of a level, which all ranks read; each writes its tiles."""
        return self._store.new(name, self.spec.n_channels, self.spec.level_sides[level])

    def _reduce(self, signal: Signal, coarser: WritableSignal) -> None:
        """Write the next coarser level of a signal, this rank's tiles of it."""
        reduced = ReducedSignal(self.spec.pyramid, signal)
        regions = items_of_rank(self._ranks, list(tiles(coarser.sides, self._tile_side // 2)))
        for region, values in zip(regions, prefetch(reduced, regions), strict=True):
            coarser.write(region, values)
        self._ranks.gather(None)  # the tiles of other ranks are read from here on
