"""The levels of a pyramid: what is fitted at each, and what is predicted from it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from miner.fitting.device import ComputeDevice
from miner.fitting.level_fit import LevelFit
from miner.fitting.partition import LevelDetail, Partition, choose_levels, lost_detail
from miner.fitting.patches import on_trial
from miner.fitting.settings import FitSettings, LevelContext, at_level
from miner.fitting.steps import BlockProblem, generator
from miner.images.pixel_format import PixelFormat
from miner.models.network import Parameters, moved, repeat
from miner.pyramids.resample import predicted_signal, reduced_signal
from miner.representation import LevelNetwork, Shard, Spec
from miner.representation.files import overview_of_tile
from miner.representation.rendering import ShardIndex, coarser_blocks, render_level
from miner.representation.storage import Storage
from miner.signals.regions import Region, extended, slices, tiles
from miner.signals.signal import Signal, WritableSignal, prefetch
from miner.signals.store import SignalStore
from miner.support.communication import SINGLE_PROCESS, Communicator, items_of_rank
from miner.support.errors import ConfigError


def make_spec(sides: tuple[int, ...], pixel_format: PixelFormat, settings: FitSettings) -> Spec:
    """The representation's geometry and networks for a signal with these sides."""
    n_levels, models = settings.pyramid.levels_for(sides, settings.patch_size), []
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
        evaluates_coarser=settings.evaluates_coarser,
    )


def check_pyramid(spec: Spec, device: torch.device) -> None:
    """Refuse, by a `ConfigError`, a pyramid whose `merge(p, target(s, p))` is not `s`.

    As in a fit, targets are of real pixels and whole patches are merged. What `reduce` and `expand`
    give must have the sides of a level.
    """
    pyramid, patch = spec.pyramid, (spec.patch_size,) * len(spec.sides)
    finer = torch.zeros(spec.n_channels, *patch, device=device)
    coarser, half = pyramid.reduce(finer), pyramid.level_shape(1, patch, spec.n_channels)
    if coarser.shape != half or pyramid.expand(coarser, patch).shape != finer.shape:
        rule = f"reduce must give {half} of {tuple(finer.shape)}, and expand that again"
        raise ConfigError(f"pyramid={pyramid}: {rule}")
    grids = [spec.grid(level) for level in range(spec.n_levels)]
    ends = [grid.valid_sizes(torch.tensor([0, grid.n_blocks - 1])) for grid in grids]
    for size in torch.cat(ends).unique(dim=0).tolist():
        shape = 2, 2, spec.n_channels, *patch
        signal, prediction = torch.rand(shape, generator=generator("pyramid")).to(device)
        real = (slice(None), slice(None), *map(slice, size))
        target = pyramid.target(signal[real], prediction[real])
        counts, whole = ([-(-n // pyramid.step) for n in sides] for sides in (size, patch))
        if target.shape != (2, spec.model(0).n_channels, *counts):
            given = f"pyramid={pyramid}: targets of shape {tuple(target.shape)}"
            raise ConfigError(f"{given} do not agree with its bands and step")
        output = target.new_zeros(*target.shape[:2], *whole)
        output[(slice(None), slice(None), *map(slice, counts))] = target
        merged = torch.cat([*map(pyramid.merge, prediction.split(1), output.split(1))])
        if merged.shape != signal.shape or not (merged - signal)[real].abs().max() <= 1e-4:
            rule = f"merge(p, target(s, p)) must be s, and is not in blocks of {size} pixels"
            raise ConfigError(f"pyramid={pyramid}: {rule}; its shape is {tuple(merged.shape)}")
        if not (pyramid.merges_prediction or merged.equal(pyramid.merge(prediction + 1, output))):
            raise ConfigError(f"pyramid={pyramid}: merge needs p, so set merges_prediction = True")


def check_storage(storage: Storage, parameters: Parameters) -> None:
    """Refuse, by a `ConfigError`, a storage that changes names, types or shapes, or gives NaN."""
    decoded = storage.decode(storage.encode(parameters))
    found, given = ({(k, t.dtype, *t.shape) for k, t in d.items()} for d in (decoded, parameters))
    if found != given or not all(tensor.isfinite().all() for tensor in decoded.values()):
        rule = f"{found - given or '{}'}, or NaN, not {given - found or given}"
        raise ConfigError(f"storage={storage}: decode(encode(parameters)) gives {rule}")


def prepare_backend(settings: FitSettings, spec: Spec, device: torch.device) -> FitSettings:
    """The settings with a backend that can fit on the device; `ConfigError` for a wrong class."""
    check_pyramid(spec, device)
    backend, steps = settings.backend, replace(settings.steps_at(0), n_steps=1, rate=1e-12)
    networks = [spec.model(level) for level in range(spec.n_levels)]
    for level, network in enumerate(networks):
        if network in networks[:level]:
            continue
        model, key = network.model, generator(settings.seed, level)
        drawn, shapes = model.draw(network.n_inputs, key), network.hidden_shapes()
        given = {k: tuple(t.shape) for k, t in drawn.items() if t.dtype == torch.float32}
        if given != shapes:
            rule = f"draw gives {given} in float32, but shapes says {shapes}"
            raise ConfigError(f"model={model}: {rule}")
        encoded = model.encode(2 * torch.rand(network.n_axes, 64, generator=key) - 1).to(device)
        shapes = network.head.shapes(model.width, network.n_channels)
        start = repeat(moved(drawn | settings.readout.draw(shapes, key), device), 2)
        targets = torch.rand(2, network.n_channels, 64, generator=key).to(device)
        check_storage(spec.storage, start)
        steps = replace(steps, loss=on_trial(settings.loss, spec.pyramid, network.n_axes, targets))
        problem = BlockProblem(network, settings.readout, steps, encoded, targets, start)
        backend = backend.prepare(problem)
    return replace(settings, backend=backend)


class PyramidFit:
    """Levels of a signal in the unit range, to be fitted one after another.

    The store holds the coarser levels of the signal and the reconstructions of two levels; each
    process computes some tiles and reads those of the others there. `settings` are those of
    `prepare_backend`. The tiles of the finest level are reduced to an `overview` if there is one.
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
        self.spec, self.device, self.settings = spec, signal_store.device, settings
        self._store, self._ranks = signal_store, ranks
        self._n_threads, self._tile_side = n_threads, signal_store.tile_side_for(spec.n_channels)
        self.signals: list[Signal] = [signal_store.to_device("signal_0", signal)]
        for level in range(1, spec.n_levels):
            coarser = self.new_signal(f"signal_{level}", level)
            reduced = reduced_signal(spec.pyramid, self.signals[-1])
            regions = items_of_rank(ranks, list(tiles(coarser.sides, self._tile_side // 2)))
            for region, values in zip(regions, prefetch(reduced, regions), strict=True):
                coarser.write(region, values)
            ranks.gather(None)  # the tiles of other ranks are read from here on
            self.signals.append(coarser)
        self._coarser: Signal | None = None  # the reconstruction of the level before
        self.overview: WritableSignal | None = None
        self._shards = [ShardIndex(spec.grid(j), ()) for j in range(spec.n_levels)]
        self._partition: Partition | None = None
        self._detail: Sequence[LevelDetail | None] = [None] * spec.n_levels
        if (selection := settings.level_selection).compares_levels:
            lost = lost_detail(spec, self.signals, self._tile_side, ranks)
            self._detail = choose_levels(selection, spec, lost, settings.max_mse)
        if spec.evaluates_coarser:
            outputs = settings.backend.outputs
            self._partition = Partition(spec, self.signals[0], self._tile_side, outputs)

    def start_level(self, level: int) -> LevelFit:
        """Find the active blocks of a level; the coarser ones must be finished."""
        spec, device, partition = self.spec, self.device, self._partition
        parents = self._shards[min(level + 1, spec.n_levels - 1)]  # none of the coarsest yet
        shape = (spec.n_channels, *spec.level_sides[level])
        prediction = predicted_signal(spec.pyramid, self._coarser, shape, device)
        self._prediction, detail = prediction, self._detail[level]  # that of rendering
        if partition:
            outputs = self.settings.backend.outputs
            self._prediction = coarser_blocks(spec, level, self._shards, prediction, outputs)
        if detail and level and partition and partition.has_failed:
            detail = detail._replace(is_cheapest=torch.zeros_like(detail.is_cheapest))
        compute = ComputeDevice(device, self.settings.max_memory_gib, self._n_threads)
        context = LevelContext(spec, self.settings, level, compute, parents)
        signals = self.signals[level], prediction
        return LevelFit(context, *signals, self._tile_side, self._ranks, detail, partition)

    def start_rendering(self, fit: LevelFit, shards: Sequence[Shard]) -> None:
        """Render a level from what is stored: `render` gets each of the `level_tiles`."""
        self._fit, level, self._kept = fit, fit.level, None
        self._shards[level] = ShardIndex(fit.grid, shards)
        if level > 0 and self._partition:
            fit.drop_replaced(shards)
            self._partition.settle(level, shards)
        elif level > 0:
            self._kept = self.new_signal(f"reconstruction_{level}", level)

    def level_tiles(self, margin: int = 0) -> Iterator[tuple[Region, Region, Tensor]]:
        """This rank's tiles of the level, as `extended` by a margin, and the signal there."""
        regions = items_of_rank(self._ranks, self._fit.tiles)
        boxes = [extended(region, self._fit.grid.sides, margin) for region in regions]
        yield from zip(regions, boxes, prefetch(self._fit.signal, boxes), strict=True)

    def render(self, region: Region, box: Region) -> Tensor:
        """Render a tile's box `(C, *S)`, clipped to the unit range, and keep it to predict from."""
        level, grid = self._fit.level, self._fit.grid
        overview = None if level else self.overview
        reach = 3 * self.spec.pyramid.reduce_reach if overview else 0
        whole = grid.around(extended(box, grid.sides, reach, reach))
        given = level, self._shards[level], self._prediction, whole
        rendered = render_level(self.spec, *given, self.settings.backend.outputs)
        if overview is not None:
            overview.write(*overview_of_tile(self.spec, self._shards, region, whole, rendered))
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
        self._coarser = self._kept

    def new_signal(self, name: str, level: int) -> WritableSignal:
        """A signal with the sides of a level, which all ranks read; each writes its tiles."""
        return self._store.new(name, self.spec.n_channels, self.spec.level_sides[level])
