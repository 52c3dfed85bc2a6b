"""Fit one level of the pyramid, chunk by chunk."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.fitting.curves import later, merge_curves
from miner.fitting.group import GroupFit, GroupFitter, Patches
from miner.fitting.kernel import Kernel
from miner.fitting.parents import find_parents
from miner.fitting.randomness import generator
from miner.fitting.settings import FitSettings, at_level
from miner.fitting.sizing import Task
from miner.fitting.weights import Start
from miner.models.parameters import Parameters, concatenate, select
from miner.representation.render import render_level
from miner.representation.shard import ChunkStats, Shard
from miner.representation.spec import Spec


@dataclass(frozen=True)
class Coarser:
    """The next coarser level, finished: its reconstruction `(C, *S)` expanded, and its shards."""

    prediction: Tensor
    shards: Sequence[Shard]


class LevelFit:
    """One level's active blocks, in chunks, and all that fitting them needs.

    A block is active when its prediction's mean squared error over its real pixels is above
    `max_mse`; at the coarsest level all are.
    """

    def __init__(
        self,
        spec: Spec,
        settings: FitSettings,
        kernel: Kernel,
        level: int,
        signal: Tensor,
        coarser: Coarser | None,
        device: torch.device,
    ) -> None:
        """Take the level's signal `(C, *S)` and the coarser level, None at the coarsest."""
        self.spec, self.settings, self.kernel = spec, settings, kernel
        self.level, self.signal, self.device = level, signal, device
        self.grid = spec.grid(level)
        self.prediction = torch.zeros_like(signal) if coarser is None else coarser.prediction
        inherits = coarser is not None and settings.weights.inherits
        self._parents = coarser.shards if coarser and inherits else ()
        self.max_mse = settings.max_mse_at(level)
        self.n_steps = settings.steps_at(level).n_steps
        self.predicted_mse = self.grid.block_means((signal - self.prediction).square())
        is_active = self.predicted_mse > self.max_mse
        if coarser is None:
            is_active[:] = True
        self.active = torch.nonzero(is_active).flatten()
        self.chunks = self.active.split(settings.chunk_size) if len(self.active) else ()

    @property
    def predicted_sse(self) -> float:
        """Summed squared error of the prediction over the whole level."""
        return float((self.signal - self.prediction).double().square().sum())

    @property
    def active_sse(self) -> float:
        """Summed squared error of the prediction over the active blocks."""
        n_values = self.grid.extents(self.active).prod(-1) * self.signal.shape[0]
        return float((self.predicted_mse[self.active] * n_values).sum())

    def fit_chunk(self, chunk: int, on_steps: Callable[[int], None] = lambda n: None) -> Shard:
        """Fit the blocks of one chunk. `on_steps` is told how many block steps are done."""
        began = time.perf_counter()
        blocks = self.chunks[chunk]
        patches = Patches(
            signal=self.grid.cut(self.signal, blocks),
            prediction=self.grid.cut(self.prediction, blocks),
            extents=self.grid.extents(blocks),
        )
        first, again, pilot_seconds = self._fit_widths(blocks, patches, on_steps)
        stored = _Stored(self.predicted_mse[blocks])
        for group in first + again:
            stored.add(group)
        rows = stored.rows
        stats = ChunkStats(
            n_active=len(blocks),
            n_converged=int(stored.converged[rows].sum()),
            n_fresh=sum(int(group.start.is_fresh.sum()) for group in first),
            seconds=time.perf_counter() - began,
            curve=later(merge_curves([group.fit.curve for group in first]), pilot_seconds),
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

    def reconstruct(self, shards: Sequence[Shard]) -> Tensor:
        """The level as stored, `(C, *S)`, never clipped."""
        first = (0,) * len(self.spec.sides)
        return render_level(
            self.spec, self.level, shards, self.prediction, first, self.kernel.outputs
        )

    def _fit_widths(
        self, blocks: Tensor, patches: Patches, on_steps: Callable[[int], None]
    ) -> tuple[list["_Group"], list["_Group"], float]:
        """Fits of all blocks with the widths that they get, and of some again with wider ones.

        Also the seconds that it took to find the widths.
        """
        began = time.perf_counter()
        sizing, level_width = self.settings.sizing, at_level(self.settings.width, self.level)
        task = Task(
            width=level_width,
            n_steps=self.n_steps,
            n_pixels=patches.extents.prod(-1),
            patch_pixels=self.spec.patch_size ** len(self.spec.sides),
            max_mse=self.max_mse,
            cost=lambda width: self.spec.model(self.level, width).n_parameters,
        )

        def pilot(n_steps: int) -> Tensor:
            start = self._start(blocks, level_width)
            return self._fitter(level_width).errors_after(n_steps, patches, start)

        widths = sizing.assign(task, pilot)
        pilot_seconds = time.perf_counter() - began
        rounds: list[list[_Group]] = []
        mse = torch.full((len(blocks),), torch.inf)
        pending = torch.arange(len(blocks))
        while len(pending) and len(rounds) <= sizing.retries:
            groups = []
            for width in widths[pending].unique().tolist():
                rows = pending[widths[pending] == width]
                start = self._start(blocks[rows], width)
                fit = self._fitter(width).fit(patches.select(rows), start, on_steps)
                mse[rows] = torch.fmin(mse[rows], fit.mse)
                groups.append(_Group(width, rows, start, fit))
            rounds.append(groups)
            on_steps = _unheard
            wider = sizing.widen(widths, mse, task)
            pending = torch.nonzero(wider > widths).flatten()
            widths = wider
        return rounds[0], [group for groups in rounds[1:] for group in groups], pilot_seconds

    def _start(self, blocks: Tensor, width: int) -> Start:
        drawn = self.spec.model(self.level, width).mlp.draw(
            generator(self.settings.seed, self.level)
        )
        parents = find_parents(self.spec, self.level, width, blocks, self._parents)
        return self.settings.weights.start(drawn, parents)

    def _fitter(self, width: int) -> GroupFitter:
        return GroupFitter(self.spec, self.settings, self.kernel, self.level, width, self.device)


def _unheard(n_block_steps: int) -> None:
    """Steps of blocks that were counted before."""


@dataclass(frozen=True)
class _Group:
    """Rows of a chunk that were fitted with one width."""

    width: int
    rows: Tensor
    start: Start
    fit: GroupFit


class _Stored:
    """The best fit of each block of a chunk, if it is better than the block's prediction."""

    def __init__(self, predicted_mse: Tensor) -> None:
        """Take the errors that blocks have without a network, `(B,)`."""
        n_blocks = len(predicted_mse)
        self.mse = predicted_mse.clone()
        self.widths = torch.zeros(n_blocks, dtype=torch.long)
        self.frames = torch.zeros(0)
        self.converged = torch.zeros(n_blocks, dtype=torch.bool)
        self._group = torch.full((n_blocks,), -1)
        self._groups: list[_Group] = []

    @property
    def rows(self) -> Tensor:
        """Blocks that are stored, ascending."""
        return torch.nonzero(self.widths).flatten()

    def add(self, group: _Group) -> None:
        """Take what is better than anything before; a NaN never is."""
        frames = group.start.frames
        if not len(self.frames):
            self.frames = frames.new_zeros(len(self.mse), frames.shape[1])
        better = group.fit.mse.double() < self.mse[group.rows]
        rows = group.rows[better]
        self.mse[rows] = group.fit.mse[better].double()
        self.widths[rows] = group.width
        self.frames[rows] = frames[better]
        self.converged[rows] = group.fit.converged[better]
        self._group[rows] = len(self._groups)
        self._groups.append(group)

    def by_width(self) -> dict[int, Parameters]:
        """Stored tensors of each width, its blocks in ascending order."""
        stored: dict[int, Parameters] = {}
        for width in self.widths[self.rows].unique().tolist():
            parts, rows = [], []
            for number, group in enumerate(self._groups):
                kept = self._group[group.rows] == number
                if group.width == width and kept.any():
                    parts.append(select(group.fit.stored, kept))
                    rows.append(group.rows[kept])
            stored[width] = select(concatenate(parts), torch.cat(rows).argsort())
        return stored
