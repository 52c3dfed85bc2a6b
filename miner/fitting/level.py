"""Fit one level of the pyramid, chunk by chunk."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.fitting.block_fitter import BlockFit, fit_blocks
from miner.fitting.curves import merge_curves, scaled
from miner.fitting.parents import find_parents
from miner.fitting.randomness import generator
from miner.fitting.settings import FitSettings, at_level
from miner.fitting.steps import StepSettings
from miner.fitting.sub_batch import blocks_at_once
from miner.models.parameters import Parameters, concatenate, repeat, select, where
from miner.pyramid import coordinates
from miner.representation.render import by_frame, render_level
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
        level: int,
        signal: Tensor,
        coarser: Coarser | None,
        device: torch.device,
    ) -> None:
        """Take the level's signal `(C, *S)` and the coarser level, None at the coarsest."""
        self.spec, self.settings, self.level, self.signal = spec, settings, level, signal
        self.device, self.grid, self.model = device, spec.grid(level), spec.model(level)
        self.prediction = torch.zeros_like(signal) if coarser is None else coarser.prediction
        inherits = coarser is not None and settings.weights.inherits
        self._parents = coarser.shards if coarser and inherits else ()
        self.predicted_mse = self.grid.block_means((signal - self.prediction).square())
        is_active = self.predicted_mse > settings.max_mse
        if coarser is None:
            is_active[:] = True
        self.active = torch.nonzero(is_active).flatten()
        self.chunks = self.active.split(settings.chunk_size) if len(self.active) else ()
        self.n_steps = at_level(settings.max_steps, level)

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
        drawn = self.model.mlp.draw(generator(self.settings.seed, self.level))
        start = self.settings.weights.start(
            drawn, find_parents(self.spec, self.level, blocks, self._parents)
        )
        patches = _Patches(
            signal=self.grid.cut(self.signal, blocks),
            prediction=self.grid.cut(self.prediction, blocks),
            extents=self.grid.extents(blocks),
        )
        kept, stored, converged, curves = [], [], 0, []
        for part, extent, encoded in self._sub_batches(start.frames, patches.extents):
            targets = patches.targets(self.spec, part, extent).to(self.device)
            fit = self._fit(encoded, targets, select(start.hidden, part), on_steps)
            curves.append(scaled(fit.curve, targets[0].numel()))
            stored_part, better = self._store(encoded, targets, fit, blocks[part])
            kept.append(part[better])
            stored.append(stored_part)
            converged += int(fit.converged.cpu()[better].sum())
        order = torch.cat(kept).argsort()
        members = torch.cat(kept)[order]
        seconds = time.perf_counter() - began
        stats = ChunkStats(
            len(blocks), converged, int(start.is_fresh.sum()), seconds, merge_curves(curves)
        )
        tensors = select(concatenate(stored), order)
        return Shard(self.level, chunk, blocks[members], start.frames[members], tensors, stats)

    def reconstruct(self, shards: Sequence[Shard]) -> Tensor:
        """The level as stored, `(C, *S)`, never clipped."""
        first = (0,) * len(self.spec.sides)
        return render_level(self.spec, self.level, shards, self.prediction, first)

    def _fit(
        self, encoded: Tensor, targets: Tensor, hidden: Parameters, on_steps: Callable[[int], None]
    ) -> BlockFit:
        settings = self.settings
        shapes = self.model.head.shapes(self.model.mlp.width, self.model.n_channels)
        drawn = settings.readout.draw(shapes, generator(settings.seed, self.level, "readout"))
        start = hidden | repeat(drawn, len(targets))
        return fit_blocks(
            self.model,
            settings.readout,
            StepSettings(
                n_steps=self.n_steps,
                optimizer=settings.optimizer,
                schedule=settings.schedule,
                loss=settings.loss,
                pixels_per_step=settings.pixels_per_step,
                key=(settings.seed, self.level, "pixels"),
            ),
            settings.pruning,
            settings.max_mse,
            encoded,
            targets,
            {name: tensor.to(self.device) for name, tensor in start.items()},
            on_steps,
        )

    @torch.no_grad()
    def _store(
        self, encoded: Tensor, targets: Tensor, fit: BlockFit, blocks: Tensor
    ) -> tuple[Parameters, Tensor]:
        """Stored tensors of the blocks that beat their prediction, and which those are.

        The hidden layers are rounded first and the readout is found anew for what is left of them:
        of its candidates, each block keeps the one that is best when rounded itself.
        """
        storage = self.spec.storage
        hidden = {name: fit.parameters[name] for name in self.model.mlp.shapes()}
        features = self.model.mlp.features(storage.decode(storage.encode(hidden)), encoded)
        best: Parameters = {}
        best_mse = torch.full_like(fit.mse, torch.inf)
        for readout in self.settings.readout.candidates(features, targets, fit.parameters):
            stored = storage.encode(hidden | readout)
            outputs = self.model.head.outputs(features, storage.decode(stored))
            mse = (outputs - targets).square().mean(dim=(1, 2))
            best = where(mse < best_mse, stored, best or stored)
            best_mse = torch.fmin(best_mse, mse)  # a NaN never wins
        better = best_mse.double().cpu() < self.predicted_mse[blocks]
        return select({name: tensor.cpu() for name, tensor in best.items()}, better), better

    def _sub_batches(
        self, frames: Tensor, extents: Tensor
    ) -> Iterator[tuple[Tensor, tuple[int, ...], Tensor]]:
        """Blocks with the same frame and real pixels: members, extent, coordinates on the device.

        Padded pixels need no weights: they are in no sub-batch's coordinates.
        """
        for frame, members in by_frame(frames):
            distinct, which = torch.unique(extents[members], dim=0, return_inverse=True)
            for number, row in enumerate(distinct.tolist()):
                extent = tuple(row)
                points = coordinates(self.spec.patch_size, extent, frame)
                encoded = self.model.mlp.encoding(points).to(self.device)
                at_once = blocks_at_once(
                    self.model, points.shape[1], self.settings.max_memory_gib, self.device
                )
                for part in members[which == number].split(at_once):
                    yield part, extent, encoded


@dataclass(frozen=True)
class _Patches:
    signal: Tensor
    prediction: Tensor
    extents: Tensor

    def targets(self, spec: Spec, part: Tensor, extent: tuple[int, ...]) -> Tensor:
        """Targets `(B, C, P)` over real pixels."""
        crop: tuple[Tensor | slice, ...] = (part, slice(None), *map(slice, extent))
        signal, prediction = self.signal[crop], self.prediction[crop]
        return spec.pyramid.target(signal, prediction).flatten(2)
