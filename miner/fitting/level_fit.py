"""Fit one level of the pyramid, chunk by chunk."""

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from miner.fitting.block_fit import OnSteps, raise_if_most_diverged
from miner.fitting.capacity import TOLERANCE, WidthRequest
from miner.fitting.chunk import Round, WidthFit, WidthGroup, best_fits, curve_of_rounds
from miner.fitting.device import Checks, in_step, run_fit
from miner.fitting.partition import LevelDetail, Partition
from miner.fitting.patches import Patches, Surroundings, gather
from miner.fitting.selection import Candidates
from miner.fitting.settings import LevelContext, at_level
from miner.representation.shard import ChunkStats, Shard
from miner.signals.grid import PatchGrid
from miner.signals.regions import Region, sides_of, whole
from miner.signals.signal import Signal, prefetch
from miner.support.communication import Communicator, gather_items, items_of_rank


class LevelFit:
    """One level's active blocks, in chunks, and all that fitting them needs.

    `level_selection` chooses the active blocks among those with data; of those that a `partition`
    gives to finer levels nothing is `represented` here. Chunks follow a curve through the level, so
    that each reads a small part of it. `n_refit_steps` counts the block steps of refits so far,
    `block_mse` is the mean error of the blocks that are fitted of the present chunk, and
    `n_replaced` counts those that miss the bound at the finest level: finer ones replace them.
    `predicted_sse` and `clipped_sse` are errors of `n_predicted` values before the level is fitted.
    """

    n_refit_steps, block_mse, n_replaced = 0, math.nan, 0

    def __init__(
        self,
        context: LevelContext,
        signal: Signal,
        prediction: Signal,
        tile_side: int,
        ranks: Communicator,
        detail: LevelDetail | None = None,
        partition: Partition | None = None,
    ) -> None:
        self._context, self._max_pixels, self._partition = context, tile_side**2, partition
        self.signal, self.prediction = signal, prediction
        self.spec, self.settings, self.level = context[:3]
        self.grid, n_channels = self.spec.grid(self.level), self.spec.n_channels
        every_block = torch.arange(self.grid.n_blocks)
        self._n_values = self.grid.valid_sizes(every_block).prod(-1) * n_channels
        self._has_data, n_pixels = torch.ones_like(every_block).bool(), math.prod(self.grid.sides)
        if mask := self.spec.masks[self.level]:
            blocks = mask.reduced(self.grid.patch_size)
            self._has_data = torch.from_numpy(blocks.valid(whole(blocks.sides)).flatten())
            n_pixels = mask.n_valid
        self.n_represented = self.n_predicted = n_channels * n_pixels
        self.tiles = list(self.grid.tiles(tile_side))
        self.n_steps = self.settings.steps_at(self.level).n_steps
        self._score_prediction(ranks)
        self._select(detail)
        ordered = self.grid.morton_order(self.active).split(self.settings.blocks_per_shard)
        self.chunks = [chunk.sort().values for chunk in ordered if len(chunk)]
        self.active_sse = sum(float(self._sse[chunk].sum()) for chunk in self.chunks)

    def _score_prediction(self, ranks: Communicator) -> None:
        """Find the prediction's errors; those of a rank's tiles leave the device all at once."""
        tiles = items_of_rank(ranks, self.tiles)
        grids = [PatchGrid(sides_of(region), self.grid.patch_size) for region in tiles]
        counts, device = [grid.n_blocks for grid in grids], self.signal.device
        # One tensor for all tiles: a small one that outlives each tile's large ones would lie in a
        # hole that these leave, which is then too small for those of the next tile.
        errors = torch.empty(sum(counts), dtype=torch.float64, device=device)
        clipped = torch.empty(len(tiles), dtype=torch.float64, device=device)
        signals = prefetch(self.signal, tiles)
        parts = zip(tiles, grids, signals, errors.split(counts), clipped, strict=True)
        for region, grid, signal, of_blocks, of_tile in parts:
            prediction = self.prediction.read(region)
            of_blocks.copy_(grid.block_means((signal - prediction).square()))
            if (valid := self.spec.valid(region, self.level)) is not None:
                prediction = prediction.where(torch.from_numpy(valid).to(device), signal)
            of_tile.copy_((signal - prediction.clamp_(0, 1)).double().square().sum())
        self.clipped_sse = sum(gather_items(ranks, clipped.tolist()))
        by_tile = gather_items(ranks, [part.clone() for part in errors.cpu().split(counts)])
        blocks = [self.grid.blocks_in(region) for region in self.tiles]
        self.predicted_mse = torch.zeros(self.grid.n_blocks, dtype=torch.float64)
        self.predicted_mse[torch.cat(blocks)] = torch.cat(by_tile)
        self.predicted_mse.masked_fill_(~self._has_data, 0)
        self._sse = self.predicted_mse * self._n_values
        self.predicted_sse = sum(float(self._sse[of_tile].sum()) for of_tile in blocks)

    def _select(self, detail: LevelDetail | None) -> None:
        """Find the active blocks and their bounds."""
        settings, selection = self.settings, self.settings.level_selection
        self.represented = torch.ones_like(self._has_data)
        due = self._partition.due if self._partition else self.represented
        blocks = Candidates(
            self.level,
            self.spec.is_coarsest(self.level),
            settings.builds_on_coarser,
            settings.max_mse,
            self.predicted_mse,
            due,
            *(detail or (self.predicted_mse * 0, self.represented)),
        )
        self.bounds = selection.bounds(blocks).where(due, math.inf)
        is_active = selection.active(blocks) & self._has_data
        self.active = torch.nonzero(is_active).flatten()
        if self._partition:
            self.predicted_sse = self.clipped_sse = float(self._sse[self.active].sum())
            self.n_predicted = int(self._n_values[self.active].sum())
            self._represent(is_active | ~due)

    def drop_replaced(self, found: Sequence[Shard]) -> None:
        """Leave the pixels of blocks that were fitted, but not found good, to finer levels."""
        is_left = self.bounds.isfinite()
        for shard in found:
            is_left[shard.blocks] = False
        self._represent(~is_left)
        self.n_replaced = len(self.active) - sum(len(shard.blocks) for shard in found)

    def _represent(self, represented: Tensor) -> None:
        counts = self._n_values.double()
        if (valid := self.spec.valid(whole(self.grid.sides), self.level)) is not None:
            counts *= self.grid.block_means(torch.from_numpy(valid)[None])
        self.represented, self.n_represented = represented, round(float(counts[represented].sum()))

    def represented_in(self, region: Region) -> Tensor:
        """Which pixels of a box of whole blocks this level represents, `(*S)`, 1 or 0."""
        sides, size = sides_of(region), self.spec.patch_size
        flags = self.represented[self.grid.blocks_in(region)].float()
        flags = flags.view(PatchGrid(sides, size).counts)
        for axis, side in enumerate(sides):
            flags = flags.repeat_interleave(size, axis).narrow(axis, 0, side)
        return flags

    def fit_chunk(self, chunk: int, on_steps: OnSteps = lambda n: None) -> Shard:
        """Fit the blocks of one chunk; raises `ConfigError`."""
        began = time.perf_counter()
        blocks, halo = self.chunks[chunk], self.settings.loss.halo
        around = Surroundings(self.grid, blocks, halo, self._gathered) if halo else None
        signal, prediction = self._gathered(blocks)
        others = self.grid.valid_sizes(blocks), self.bounds[blocks], around
        patches = Patches(blocks, signal, prediction, *others)
        rounds = self._rounds(patches, chunk == 0, on_steps)
        first, tried = rounds[0][0], [one for fits, _, _ in rounds for one in fits]
        rows, frames, widths, stored, n_converged = best_fits(self.predicted_mse[blocks], tried)
        stats = ChunkStats(
            n_active=len(blocks),
            n_converged=n_converged,
            n_fresh=sum(int((~one.inherited.exists).sum()) for one in first),
            n_diverged=sum(int(one.fit.diverged.sum()) for one in first),
            seconds=time.perf_counter() - began,
            curve=tuple(curve_of_rounds(rounds, self._n_values[blocks], self.n_steps)),
        )
        shard = Shard(self.level, chunk, blocks[rows], frames, widths, stored, stats)
        if self._partition is None or self.level == 0:
            return shard
        return shard.select(self._partition.represent(shard, self.settings.max_mse * TOLERANCE))

    def _gathered(self, blocks: Tensor) -> list[Tensor]:
        """Signal and prediction of blocks, with a ring where they are fitted to one."""
        signals, ring = (self.signal, self.prediction), self.settings.ring_at(self.level)
        return gather(self.grid, blocks, signals, self._max_pixels, ring)

    def _rounds(self, patches: Patches, is_first: bool, on_steps: OnSteps) -> list[Round]:
        """Fits of all blocks, and again, wider, of those whose errors call for it."""
        gathered, capacity, rounds = time.perf_counter(), self.settings.capacity, list[Round]()
        width = at_level(self.settings.width, self.level)
        request = WidthRequest(
            width=width,
            n_steps=self.n_steps,
            n_pixels=patches.valid_sizes.prod(-1),
            patch_pixels=self.spec.patch_size ** len(self.spec.sides),
            max_mse=patches.max_mse,
            cost=lambda wider: self.spec.model(self.level, wider).n_parameters,
            probe=lambda n_steps: WidthGroup(self._context, width, patches).errors_after(n_steps),
        )
        widths = capacity.assign(request)
        rows, mse = torch.arange(len(widths)), torch.full((len(widths),), torch.inf)
        while len(rows) and len(rounds) <= capacity.max_refits:
            self.n_refit_steps += len(rows) * self.n_steps if rounds else 0
            began = time.perf_counter()
            fits = self._fit_rows(patches, widths, rows, mse, on_steps)
            rounds.append((fits, began - gathered, time.perf_counter() - began))
            if is_first and len(rounds) == 1:  # a later chunk may hold a few odd blocks alone
                diverged_again = torch.cat([one.fit.diverged_again for one in fits])
                raise_if_most_diverged(diverged_again, self.settings.optimizer)
            wider = capacity.widen(widths, mse, request)
            rows, widths = torch.nonzero(wider > widths).flatten(), wider
        return rounds

    def _fit_rows(
        self, patches: Patches, widths: Tensor, rows: Tensor, mse: Tensor, on_steps: OnSteps
    ) -> list[WidthFit]:
        """Fits of some rows of a chunk, each with its width, narrow ones first, down to `mse`."""
        distinct, lock = widths[rows].unique().tolist(), self._context.compute.lock

        def count(n_block_steps: int) -> None:
            with lock:
                on_steps(n_block_steps)

        def started(width: int) -> Checks[WidthFit]:
            members = rows[widths[rows] == width]
            group = WidthGroup(self._context, width, patches.select(members))
            fit = yield from group.fit(count)
            with lock:
                mse[members] = torch.fmin(mse[members], fit.mse)
                self.block_mse = float(mse[mse.isfinite()].mean())
            return WidthFit(width, members, group.inherited, fit)

        if patches.around:
            return patches.finish(in_step(list(map(started, distinct))))
        return self._context.compute.map(lambda width: run_fit(started(width)), distinct)
