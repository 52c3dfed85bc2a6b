"""Fit one level of the pyramid, chunk by chunk."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.fitting.backend import Backend
from miner.fitting.best_state import (
    BestFits,
    Curve,
    FittedGroup,
    later,
    merge_curves,
    no_longer_than,
)
from miner.fitting.block_fit import raise_if_most_diverged
from miner.fitting.capacity import WidthRequest
from miner.fitting.device import (
    MemoryBudget,
    as_numbers,
    from_device,
    map_side_by_side,
    n_side_by_side,
    one_at_a_time,
)
from miner.fitting.initialization import InitialState, find_parents, generator
from miner.fitting.patches import Patches, gather
from miner.fitting.settings import FitSettings, at_level
from miner.fitting.width_group import GroupFitter
from miner.models.parameters import moved
from miner.pyramids.resample import ExpandedSignal, ZeroSignal
from miner.representation.render import ShardIndex, render_level
from miner.representation.shard import ChunkStats, Shard
from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid
from miner.signals.regions import Region, sides_of, tile_side
from miner.signals.signal import Signal, prefetch
from miner.support.communication import Communicator, gather_items, items_of_rank


@dataclass(frozen=True)
class CoarserLevel:
    """The next coarser level, finished: its reconstruction and its shards."""

    reconstruction: Signal
    shards: Sequence[Shard]


class LevelFit:
    """One level's active blocks, in chunks, and all that fitting them needs.

    A block is active when its prediction's mean squared error over its real pixels is above
    `max_mse`; at the coarsest level all are. Chunks follow a curve through the level, so that each
    reads a small part of it. `tiles` are the boxes by which the level is scored and rendered.
    `predicted_sse` is the prediction's summed squared error over the level, `clipped_sse` the same
    for the prediction clipped to the unit range.
    """

    def __init__(
        self,
        spec: Spec,
        settings: FitSettings,
        backend: Backend,
        level: int,
        signal: Signal,
        coarser: CoarserLevel | None,
        device: torch.device,
        ranks: Communicator,
    ) -> None:
        """Take the level's signal and the coarser level, None at the coarsest."""
        self.spec, self.settings, self.backend = spec, settings, backend
        self.level, self.signal, self.device = level, signal, device
        self.grid = spec.grid(level)
        self.tiles = list(self.grid.tiles(tile_side(device.type, spec.n_channels)))
        self.prediction: Signal = ZeroSignal(spec.n_channels, self.grid.sides, device)
        if coarser is not None:
            self.prediction = ExpandedSignal(coarser.reconstruction, self.grid.sides)
        inherits = coarser is not None and settings.weights.inherits
        shards = coarser.shards if coarser and inherits else ()
        self._parents = ShardIndex(spec.grid(min(level + 1, spec.n_levels - 1)), shards)
        self.max_mse = settings.max_mse_at(level)
        self.n_steps = settings.steps_at(level).n_steps
        self._memory = MemoryBudget(device, settings.max_memory_gib)
        self.predicted_mse = torch.empty(self.grid.n_blocks, dtype=torch.float64)
        self.predicted_sse = self.clipped_sse = 0.0
        self._score_prediction(ranks)
        is_active = self.predicted_mse > self.max_mse
        if coarser is None:
            is_active[:] = True
        self.active = torch.nonzero(is_active).flatten()
        ordered = self.grid.morton_order(self.active).split(settings.blocks_per_shard)
        self.chunks = [chunk.sort().values for chunk in ordered if len(chunk)]

    @property
    def n_values(self) -> int:
        """Pixels times channels."""
        return self.spec.n_channels * math.prod(self.grid.sides)

    @property
    def active_sse(self) -> float:
        """Summed squared error of the prediction over the active blocks."""
        return sum(self._sse(blocks, self.predicted_mse[blocks]) for blocks in self.chunks)

    def _sse(self, blocks: Tensor, mse: Tensor) -> float:
        n_values = self.grid.valid_sizes(blocks).prod(-1) * self.spec.n_channels
        return float((mse * n_values).sum())

    def _score_prediction(self, ranks: Communicator) -> None:
        """Find the prediction's error for each block, and over the level as it is and clipped.

        Each rank scores some tiles. Its errors come from the device at the end, all at once.
        """
        tiles = items_of_rank(ranks, self.tiles)
        found, clipped = [], []
        for region, signal in zip(tiles, prefetch(self.signal, tiles), strict=True):
            prediction = self.prediction.read(region)
            own = PatchGrid(sides_of(region), self.grid.patch_size)
            found.append(own.block_means((signal - prediction).square()))
            clipped.append(squared_error(signal, prediction.clamp_(0, 1)))
        self.clipped_sse = sum(gather_items(ranks, as_numbers(clipped)), 0.0)
        by_tile = from_device(found)
        for region, errors in zip(self.tiles, gather_items(ranks, by_tile), strict=True):
            blocks = self.grid.blocks_in(region)
            self.predicted_mse[blocks] = errors
            self.predicted_sse += self._sse(blocks, errors)

    def fit_chunk(self, chunk: int, on_steps: Callable[[int], None] = lambda n: None) -> Shard:
        """Fit the blocks of one chunk. `on_steps` is told how many block steps are done.

        Raises:
            DivergenceError: the learning rate is too high for most blocks.
            BlockTooLargeError: memory runs out for a single block.
        """
        began = time.perf_counter()
        blocks = self.chunks[chunk]
        signal, prediction = gather(self.grid, blocks, (self.signal, self.prediction))
        patches = Patches(signal, prediction, self.grid.valid_sizes(blocks))
        first, again, curve = self._fit_widths(blocks, patches, on_steps, chunk == 0)
        stored = BestFits(self.predicted_mse[blocks])
        for group in first + again:
            stored.add(group)
        rows = stored.rows
        stats = ChunkStats(
            n_active=len(blocks),
            n_converged=int(stored.converged[rows].sum()),
            n_fresh=sum(int(group.start.is_fresh.sum()) for group in first),
            n_diverged=sum(int(group.fit.diverged.sum()) for group in first),
            seconds=time.perf_counter() - began,
            curve=curve,
        )
        return Shard(
            self.level,
            chunk,
            blocks[rows],
            stored.frames[rows],
            stored.widths[rows],
            stored.by_width(),
            stats,
        )

    def reconstruct(self, shards: Sequence[Shard], tiles: Sequence[Region]) -> Iterator[Tensor]:
        """Some tiles of the level as stored, `(C, *S)`, never clipped."""
        index, size = ShardIndex(self.grid, shards), self.grid.patch_size
        for region in tiles:
            first = tuple(low for low, _ in region)
            near = index.near([n // size for n in first], [-(-high // size) for _, high in region])
            prediction, outputs = self.prediction.read(region), self.backend.outputs
            yield render_level(self.spec, self.level, near, prediction, first, outputs)

    def _fit_widths(
        self, blocks: Tensor, patches: Patches, on_steps: Callable[[int], None], is_first: bool
    ) -> tuple[list[FittedGroup], list[FittedGroup], Curve]:
        """Fits of all blocks with the widths that they get, and of some again with wider ones.

        Also the curve of the former, after the seconds that it took to find the widths.
        """
        began = time.perf_counter()
        capacity, level_width = self.settings.capacity, at_level(self.settings.width, self.level)
        task = WidthRequest(
            width=level_width,
            n_steps=self.n_steps,
            n_pixels=patches.valid_sizes.prod(-1),
            patch_pixels=self.spec.patch_size ** len(self.spec.sides),
            max_mse=self.max_mse,
            cost=lambda width: self.spec.model(self.level, width).n_parameters,
        )

        def probe(n_steps: int) -> Tensor:
            start = self._start(blocks, level_width)
            return self._fitter(level_width, 1).errors_after(n_steps, patches, start)

        widths = capacity.assign(task, probe)
        probe_seconds = time.perf_counter() - began
        rounds: list[list[FittedGroup]] = []
        curve: Curve = ()
        mse = torch.full((len(blocks),), torch.inf)
        pending = torch.arange(len(blocks))
        while len(pending) and len(rounds) <= capacity.max_refits:
            groups = self._fit_groups(blocks, patches, widths, pending, on_steps)
            for group in groups:
                mse[group.rows] = torch.fmin(mse[group.rows], group.fit.mse)
            rounds.append(groups)
            if len(rounds) == 1:
                seconds = time.perf_counter() - began - probe_seconds
                curve = merge_curves([group.fit.curve for group in groups])
                curve = later(no_longer_than(curve, seconds), probe_seconds)
            if is_first and len(rounds) == 1:  # a later chunk may hold a few odd blocks alone
                diverged = [group.fit.diverged_again for group in groups]
                raise_if_most_diverged(diverged, self.settings.optimizer)
            on_steps = _unheard
            wider = capacity.widen(widths, mse, task)
            pending = torch.nonzero(wider > widths).flatten()
            widths = wider
        return rounds[0], [group for groups in rounds[1:] for group in groups], curve

    def _fit_groups(
        self,
        blocks: Tensor,
        patches: Patches,
        widths: Tensor,
        rows: Tensor,
        on_steps: Callable[[int], None],
    ) -> list[FittedGroup]:
        """Fits of some rows of a chunk, each with its width, narrow ones first."""
        own = widths[rows]
        distinct: list[int] = own.unique().tolist()
        heard, n_beside = one_at_a_time(on_steps), n_side_by_side(self.device, len(distinct))

        def fitted(width: int) -> FittedGroup:
            members = rows[own == width]
            start = self._start(blocks[members], width)
            fit = self._fitter(width, n_beside).fit(patches.select(members), start, heard)
            return FittedGroup(width, members, start, fit)

        return map_side_by_side(self.device, fitted, distinct)

    def _start(self, blocks: Tensor, width: int) -> InitialState:
        one = self.spec.model(self.level, width).mlp.draw(generator(self.settings.seed, self.level))
        parents = find_parents(self.spec, self.level, width, blocks, self._parents, self.device)
        return self.settings.weights.start(moved(one, self.device), parents)

    def _fitter(self, width: int, n_beside: int) -> GroupFitter:
        fixed = self.spec, self.settings, self.backend, self.level
        return GroupFitter(*fixed, width, self._memory, n_beside)


def _unheard(n_block_steps: int) -> None:
    """Steps of blocks that were counted before."""


def squared_error(signal: Tensor, reconstruction: Tensor) -> Tensor:
    """Summed squared error of two tensors of one shape, `()` float64, where they lie."""
    return (signal - reconstruction).double().square().sum()
