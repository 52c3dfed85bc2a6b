"""Count the block steps of a fit that may begin again."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from miner.fitting.backend import Backend
from miner.fitting.best_state import GroupFit, joined, scaled
from miner.fitting.block_fit import RATE_OF_REFIT, BlockFit, fit_blocks
from miner.fitting.criteria import AbsoluteMSEPruning, Pruning
from miner.fitting.device import MemoryBudget
from miner.fitting.initialization import InitialState, generator
from miner.fitting.patches import Patches
from miner.fitting.readout import LearnedReadout, Readout
from miner.fitting.settings import FitSettings
from miner.fitting.steps import BlockProblem, BlockTrainer, StepSettings
from miner.models.network import BlockNetwork
from miner.models.parameters import Parameters, moved, repeat, select, where
from miner.representation.render import by_frame, by_row
from miner.representation.spec import Spec
from miner.signals.grid import coordinates


class StepCount:
    """Tells of block steps as they are done, but never again of those that are repeated."""

    def __init__(self, on_steps: Callable[[int], None]) -> None:
        """Take what is told."""
        self.done = 0
        self._told = 0
        self._on_steps = on_steps

    def add(self, n_block_steps: int) -> None:
        """Count steps that were done or spared."""
        self.done += n_block_steps
        if self.done > self._told:
            self._on_steps(self.done - self._told)
            self._told = self.done

    def back_to(self, done: int) -> None:
        """What was done since `done` steps is to be done again."""
        self.done = done


T = TypeVar("T")

_PILOT_CHECK, _FAR_BELOW = 5, 1e-2


class GroupFitter:
    """Fits blocks of one level that have networks of one width."""

    def __init__(
        self,
        spec: Spec,
        settings: FitSettings,
        backend: Backend,
        level: int,
        width: int,
        memory: MemoryBudget,
        n_beside: int = 1,
    ) -> None:
        """Take what decides the fit, and the memory of the device on which it is computed.

        So many groups, this one among them, are fitted at the same time and share that memory.
        """
        self.spec, self.settings, self.backend = spec, settings, backend
        self.memory, self.n_beside, self.device = memory, n_beside, memory.device
        self.model: BlockNetwork = spec.model(level, width)
        self.level, self.steps = level, settings.steps_at(level)
        self.max_mse = settings.max_mse_at(level)

    def fit(
        self,
        patches: Patches,
        start: InitialState,
        on_steps: Callable[[int], None] = lambda n: None,
    ) -> GroupFit:
        """Train all blocks and round them; what is given lies in the host's memory.

        `on_steps` is told how many block steps are done.

        Raises:
            BlockTooLargeError: memory runs out for a single block.
        """
        count, done = StepCount(on_steps), 0

        def fitted(encoded: Tensor, targets: Tensor, hidden: Parameters) -> GroupFit:
            count.back_to(done)  # where memory ran out, steps are repeated
            return self._fit_part(encoded, targets, hidden, count.add)

        parts, fits = [], []
        for part, fit in self._sub_batches(patches, start, fitted):
            parts.append(part)
            fits.append(fit)
            done = count.done
        return joined(parts, fits)

    def _fit_part(
        self,
        encoded: Tensor,
        targets: Tensor,
        hidden: Parameters,
        on_steps: Callable[[int], None],
    ) -> GroupFit:
        """Train the blocks of a sub-batch and round them; all stays on the device."""
        start = self._start(hidden, len(targets))
        fit, diverged_again = self._train(
            self.steps, self.settings.pruning, self.max_mse, encoded, targets, start, on_steps
        )
        stored, mse = self._round(encoded, targets, fit)
        return GroupFit(
            stored,
            mse,
            converged=fit.converged,
            diverged=fit.diverged,
            diverged_again=diverged_again,
            curve=scaled(fit.curve, targets[0].numel()),
        )

    def errors_after(self, n_steps: int, patches: Patches, start: InitialState) -> Tensor:
        """Errors `(B,)` of a short fit of `n_steps` steps, of which nothing else is kept.

        Blocks far below the bound leave early: flat ones should cost next to nothing.
        """
        steps, pruning = replace(self.steps, n_steps=n_steps), AbsoluteMSEPruning(_PILOT_CHECK)

        def errors(encoded: Tensor, targets: Tensor, hidden: Parameters) -> Tensor:
            drawn = self._start(hidden, len(targets))
            bound = _FAR_BELOW * self.max_mse
            return self._train(steps, pruning, bound, encoded, targets, drawn)[0].mse

        mse = torch.empty(len(patches.valid_sizes))
        for part, found in self._sub_batches(patches, start, errors):
            mse[part] = found.cpu()
        return mse

    def _start(self, hidden: Parameters, n_blocks: int) -> Parameters:
        """Trained parameters of blocks that start with these hidden ones."""
        shapes = self.model.head.shapes(self.model.mlp.width, self.model.n_channels)
        key = generator(self.settings.seed, self.level, "readout")
        one = moved(self.settings.readout.draw(shapes, key), self.device)
        return hidden | repeat(one, n_blocks)

    def _train(
        self,
        steps: StepSettings,
        pruning: Pruning,
        max_mse: float,
        encoded: Tensor,
        targets: Tensor,
        start: Parameters,
        on_steps: Callable[[int], None] = lambda n: None,
    ) -> tuple[BlockFit, Tensor]:
        """Fit blocks, and those that diverge once more, from their best state, at a lower rate.

        Gives the better fit of each, and the mask `(B,)` of those that diverged both times.
        """

        def fitted(
            steps: StepSettings, targets: Tensor, start: Parameters, heard: Callable[[int], None]
        ) -> BlockFit:
            readout = self.settings.readout
            problem = BlockProblem(self.model, readout, steps, encoded, targets, start)
            return fit_blocks(self.backend, problem, pruning, max_mse, heard)

        fit = fitted(steps, targets, start, on_steps)
        diverged_again = torch.zeros_like(fit.diverged)
        rows = torch.nonzero(fit.diverged).flatten()
        if len(rows):
            best = {name: fit.parameters[name][rows] for name in start}
            slower = replace(steps, rate=RATE_OF_REFIT)
            second = fitted(slower, targets[rows], best, lambda n: None)
            fit = fit.improved_by(rows, second)
            diverged_again[rows] = second.diverged
        return fit, diverged_again

    @torch.no_grad()
    def _round(self, encoded: Tensor, targets: Tensor, fit: BlockFit) -> tuple[Parameters, Tensor]:
        """Stored tensors of the blocks, and the errors that they decode to.

        Where storage rounds, the hidden layers are rounded first and the readout is found anew for
        what is left of them: of its candidates, each block keeps the one that is best when rounded
        itself. What is not finite once stored counts as no fit at all.
        """
        storage = self.spec.storage
        best = storage.encode(fit.parameters)
        best_mse = torch.where(_is_finite(best), fit.mse, torch.inf)
        if not storage.is_exact:
            hidden = {name: fit.parameters[name] for name in self.model.mlp.shapes()}
            rounded = fit.parameters | storage.decode(storage.encode(hidden))
            best_mse = torch.full_like(fit.mse, torch.inf)
            for candidate in self.settings.readout.candidates():
                solved = self._measured(candidate, encoded, targets, rounded).best
                stored = storage.encode(solved | hidden)
                decoded = storage.decode(stored)
                mse = self._measured(LearnedReadout(), encoded, targets, decoded).mse
                mse = torch.where(_is_finite(stored), mse, torch.inf)
                best = where(mse < best_mse, stored, best)
                best_mse = torch.fmin(best_mse, mse)  # a NaN never wins
        return best, best_mse

    def _measured(
        self, readout: Readout, encoded: Tensor, targets: Tensor, parameters: Parameters
    ) -> BlockTrainer:
        """Blocks scored with these parameters, the readout's own way of finding itself included."""
        settings = replace(self.steps, n_steps=0)
        problem = BlockProblem(self.model, readout, settings, encoded, targets, parameters)
        steps = self.backend.trainer(problem)
        steps.evaluate()
        return steps

    def _sub_batches(
        self,
        patches: Patches,
        start: InitialState,
        fitted: Callable[[Tensor, Tensor, Parameters], T],
    ) -> Iterator[tuple[Tensor, T]]:
        """Blocks with the same frame and real pixels, as many as memory holds, and their fits.

        `fitted` is given coordinates, targets and hidden parameters. Padded pixels need no weights:
        they are in no sub-batch's coordinates.
        """
        for frame, members in by_frame(start.frames):
            for valid_size, among in by_row(patches.valid_sizes[members]):
                points = coordinates(self.spec.patch_size, valid_size, frame)
                encoded = self.model.mlp.encoding(points).to(self.device)
                memory_gib = self.memory.gib(self.n_beside)
                most = self.backend.max_blocks(self.model, points.shape[1], memory_gib, self.device)

                def of_part(
                    part: Tensor,
                    encoded: Tensor = encoded,
                    valid_size: tuple[int, ...] = valid_size,
                ) -> T:
                    targets = patches.targets(self.spec, part, valid_size)
                    hidden = select(start.hidden, part.to(self.device))
                    return fitted(encoded, targets, hidden)

                yield from self.memory.in_parts(members[among], most, of_part)


def _is_finite(stored: Parameters) -> Tensor:
    """Mask `(B,)` of the blocks all of whose numbers are finite."""
    masks = [tensor.isfinite().reshape(len(tensor), -1).all(1) for tensor in stored.values()]
    return torch.stack(masks).all(0)
