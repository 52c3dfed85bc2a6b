"""The blocks of a chunk: their pixels, and their fits with networks of one width."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from miner.fitting.block_fit import (
    RATE_OF_REFIT,
    BlockFit,
    OnSteps,
    fit_blocks,
    join_fits,
    merge_curves,
    no_longer_than,
)
from miner.fitting.criteria import AbsoluteMSEPruning, Pruning
from miner.fitting.device import Checks, in_step
from miner.fitting.initialization import Parents
from miner.fitting.patches import Patches
from miner.fitting.readout import LearnedReadout, Readout
from miner.fitting.settings import LevelContext
from miner.fitting.steps import BlockProblem, BlockTrainer, generator
from miner.models.network import Parameters, concatenate, moved, repeat, select, where
from miner.representation.rendering import ShardIndex, by_row
from miner.representation.spec import Spec
from miner.signals.grid import coordinates

_PROBE_PRUNING, _FAR_BELOW = AbsoluteMSEPruning(every_n_steps=5), 1e-2  # part of the bound
Fit = Callable[[BlockProblem, Tensor], Checks[BlockFit]]  # of a problem and bounds of its errors


def find_parents(
    spec: Spec, level: int, width: int, blocks: Tensor, coarser: ShardIndex, device: torch.device
) -> Parents:
    """The stored parents of blocks `(B,)` of one width, decoded: the one at q // 2 for each q."""
    positions = spec.grid(level).positions(blocks)
    above, parity = positions // 2, positions % 2
    found: list[tuple[Tensor, Tensor, Parameters]] = []
    if not spec.is_coarsest(level):
        wanted = spec.grid(level + 1).numbers(above)
        for shard in coarser.near(above.amin(0), above.amax(0) + 1):
            has_width = shard.widths == width
            is_parent = torch.isin(shard.blocks, wanted) & has_width
            if is_parent.any():
                stored = select(shard.stored[width], is_parent[has_width])
                found.append((shard.blocks[is_parent], shard.frames[is_parent], stored))
    if not found:
        no_frames = torch.zeros(len(blocks), 1 + len(spec.sides), dtype=torch.long)
        return Parents(torch.zeros(len(blocks), dtype=torch.bool), {}, no_frames, parity)
    numbers, frames, parameters = zip(*found, strict=True)
    known = torch.cat(numbers)
    order = known.argsort()
    row = order[torch.searchsorted(known[order], wanted).clamp(max=len(known) - 1)]
    decoded = spec.storage.decode(moved(select(concatenate(parameters), row), device))
    hidden = {name: decoded[name] for name in spec.model(level, width).hidden_shapes()}
    return Parents(known[row] == wanted, hidden, torch.cat(frames)[row], parity)


class WidthFit(NamedTuple):
    """The fit of a chunk's rows `(B,)` with networks of one width."""

    width: int
    rows: Tensor
    inherited: Parents
    fit: BlockFit


def best_fits(
    predicted_mse: Tensor, fits: Sequence[WidthFit]
) -> tuple[Tensor, Tensor, Tensor, dict[int, Parameters], int]:
    """Rows whose best fit beats the prediction, frames, widths, tensors, and how many converged."""
    best_mse, best = predicted_mse.clone(), torch.full((len(predicted_mse),), -1)
    for number, (_, rows, _, fit) in enumerate(fits):
        better = fit.mse.double() < best_mse[rows]  # false for NaN; the first of equal ones stays
        best_mse[rows[better]] = fit.mse[better].double()
        best[rows[better]] = number
    kept = [(one, best[one.rows] == number) for number, one in enumerate(fits)]
    rows = torch.cat([one.rows[mask] for one, mask in kept])
    widths = torch.cat([torch.full_like(one.rows[mask], one.width) for one, mask in kept])
    stored = {}
    for width in widths.unique().tolist():
        parts = [select(one.fit.parameters, mask) for one, mask in kept if one.width == width]
        stored[width] = select(concatenate(parts), rows[widths == width].argsort())
    frames = torch.cat([one.inherited.frames[mask] for one, mask in kept])
    n_converged = sum(int(one.fit.converged[mask].sum()) for one, mask in kept)
    order = rows.argsort()
    return rows[order], frames[order], widths[order], stored, n_converged


Round = tuple[Sequence[WidthFit], float, float]
"""Fits of some rows of a chunk, one for each width, the seconds before them, and theirs."""


def curve_of_rounds(
    rounds: Sequence[Round], n_values: Tensor, n_steps: int
) -> list[tuple[int, float, float]]:
    """The curve of a chunk whose rows have `n_values` `(B,)`; refit k begins after `k * n_steps`.

    Rows of a refit have at most the error that is stored of them, and others just that.
    """
    curve, sse = [], torch.full(n_values.shape, torch.inf, dtype=torch.float64)
    for number, (fits, start_s, seconds) in enumerate(rounds):
        rows = torch.cat([one.rows for one in fits])
        most = float(sse[rows].sum())
        others = float(sse.index_fill(0, rows, 0.0).nan_to_num(posinf=0.0).sum())
        merged = merge_curves([one.fit.curve for one in fits])
        for step, at, error in no_longer_than(merged, seconds, start_s):
            curve.append((number * n_steps + step, at, others + min(most, error)))
        for one in fits:
            sse[one.rows] = torch.fmin(sse[one.rows], one.fit.mse.double() * n_values[one.rows])
    return curve


class WidthGroup:
    """Blocks with networks of one width, and the parents that they start from."""

    def __init__(self, context: LevelContext, width: int, patches: Patches) -> None:
        self.spec, self.settings, self._level, self._compute, parents = context
        self._device, self._patches = self._compute.device, patches
        self._network = network = self.spec.model(self._level, width)
        self._ring = self.settings.ring_at(self._level)
        found = find_parents(self.spec, self._level, width, patches.blocks, parents, self._device)
        self.inherited = self.settings.weights.inherited(found)
        seed = self.settings.seed, self._level
        drawn = network.model.draw(network.n_inputs, generator(*seed))
        self._hidden = repeat(moved(drawn, self._device), len(patches.blocks))
        if self.inherited.exists.any():
            exists = self.inherited.exists.to(self._device)
            self._hidden = where(exists, self.inherited.hidden, self._hidden)
        shapes = network.head.shapes(width, network.n_channels)
        drawn = self.settings.readout.draw(shapes, generator(*seed, "readout"))
        self._readout_start = moved(drawn, self._device)

    def fit(self, on_steps: OnSteps = lambda n: None) -> Checks[BlockFit]:
        """Train all blocks and round them; parameters are stored tensors in the host's memory."""

        def fitted(problem: BlockProblem, max_mse: Tensor) -> Checks[BlockFit]:
            fit = yield from self._train(problem, self.settings.pruning, max_mse, on_steps)
            return self._round(problem, fit)

        return self._in_batches(fitted)

    def errors_after(self, n_steps: int) -> Tensor:
        """Errors `(B,)` of a short fit, which blocks far below the bound leave early."""

        def fitted(problem: BlockProblem, max_mse: Tensor) -> Checks[BlockFit]:
            steps = replace(problem.steps, n_steps=min(n_steps, problem.steps.n_steps))
            shorter = problem._replace(steps=steps)
            return self._train(shorter, _PROBE_PRUNING, _FAR_BELOW * max_mse, lambda n: None)

        return self._patches.finish(self._in_batches(fitted)).mse

    def _train(
        self, problem: BlockProblem, pruning: Pruning, max_mse: Tensor, on_steps: OnSteps
    ) -> Checks[BlockFit]:
        """Fit blocks, and those that diverge once more, from their best state, at a lower rate."""
        backend = self.settings.backend
        fit = yield from fit_blocks(backend, problem, pruning, max_mse, on_steps)
        rows = torch.nonzero(fit.diverged).flatten()
        if not len(rows):
            return fit
        slower = problem.again(rows, fit.parameters, RATE_OF_REFIT)
        refit = yield from fit_blocks(backend, slower, pruning, max_mse[rows])
        return fit.improved_by(rows, refit)

    @torch.no_grad()
    def _round(self, problem: BlockProblem, fit: BlockFit) -> BlockFit:
        """The fit with stored tensors as its parameters, and the errors that they decode to."""
        storage = self.spec.storage
        best = storage.encode(fit.parameters)
        if storage.is_exact:
            return replace(fit, parameters=best, mse=_finite(fit.mse, best))
        hidden = {name: fit.parameters[name] for name in self._network.hidden_shapes()}
        rounded = fit.parameters | storage.decode(storage.encode(hidden))
        best_mse = torch.full_like(fit.mse, torch.inf)
        for candidate in self.settings.readout.candidates():  # the best, once rounded, stays
            stored = storage.encode(self._evaluated(problem, candidate, rounded).best | hidden)
            mse = self._evaluated(problem, LearnedReadout(), storage.decode(stored)).mse
            mse = _finite(mse, stored)
            best = where(mse < best_mse, stored, best)
            best_mse = torch.fmin(best_mse, mse)  # a NaN never wins
        return replace(fit, parameters=best, mse=best_mse)

    def _evaluated(
        self, problem: BlockProblem, readout: Readout, parameters: Parameters
    ) -> BlockTrainer:
        no_steps = replace(problem.steps, n_steps=0)
        given = problem._replace(readout=readout, steps=no_steps, start=parameters)
        trainer = self.settings.backend.trainer(given)
        trainer.evaluate()
        return trainer

    def _in_batches(self, fitted: Fit) -> Checks[BlockFit]:
        """Fit blocks with the same frame and real pixels at once, as many as memory holds.

        Batches go from check to check together if they share surroundings, else one by one.
        """
        spec, network, compute = self.spec, self._network, self._compute
        fits: list[tuple[Tensor, BlockFit]] = []
        started: list[tuple[Tensor, Checks[BlockFit]]] = []
        kinds = torch.cat([self.inherited.frames, self._patches.valid_sizes], dim=1)
        for kind, members in by_row(kinds):
            frame, valid_size = kind[: -network.n_axes], kind[-network.n_axes :]
            points = coordinates(spec.patch_size, valid_size, frame, spec.pyramid.step, self._ring)
            encoded = network.model.encode(points).to(self._device)
            most = self.settings.backend.max_blocks(network, encoded, compute.memory_gib())
            start = partial(self._start_batch, fitted, encoded, valid_size)
            if self._patches.around:
                started += [(part, start(part)) for part in members.split(most)]
            else:
                fits += compute.in_batches(members, most, start)
        ended = yield from in_step([fit for _, fit in started])
        fits += zip((part for part, _ in started), ended, strict=True)
        return join_fits(fits)

    def _start_batch(
        self, fitted: Fit, encoded: Tensor, valid_size: tuple[int, ...], batch: Tensor
    ) -> Checks[BlockFit]:
        hidden = select(self._hidden, batch.to(self._device))
        start = hidden | repeat(self._readout_start, len(batch))
        real = tuple(n + 2 * self._ring for n in valid_size)
        pixels, pyramid = self._patches.real(batch, real), self.spec.pyramid
        targets = pyramid.target(*pixels).flatten(2)
        steps, max_mse = self.settings.steps_at(self._level), self._patches.max_mse[batch]
        if around := self._patches.around:
            blocks = self._patches.blocks[batch]
            steps = replace(steps, loss=around.of(steps.loss, blocks, pyramid, targets, *pixels))
        # Errors of targets times this are at least those of the pixels that they stand for.
        ratio = targets[0].numel() / pixels[0][0].numel()
        given = self._network, self.settings.readout, steps, encoded, targets, start
        fit = yield from fitted(BlockProblem(*given), (max_mse / ratio).to(targets))
        return replace(fit, mse=ratio * fit.mse)


def _finite(mse: Tensor, stored: Parameters) -> Tensor:
    """Errors `(B,)`, infinite where not all that is stored is a number."""
    finite = [tensor.isfinite().reshape(len(mse), -1).all(1) for tensor in stored.values()]
    return mse.where(torch.stack(finite).all(0), torch.inf)
