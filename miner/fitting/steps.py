"""Training steps of a sub-batch: the readable definition in plain PyTorch.

miner/kernels holds its compiled twins.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from miner.fitting.criteria import Loss, Schedule
from miner.fitting.initialization import pixel_subset
from miner.fitting.optimizer import OptimizerFactory, keep_blocks
from miner.fitting.readout import Readout
from miner.models.network import BlockNetwork
from miner.models.parameters import Parameters, select, where


@dataclass(frozen=True)
class StepSettings:
    """How a level is trained. `batch_pixels` None is all pixels; `key` seeds pixel draws.

    `rate` is a factor on the optimiser's own learning rate.
    """

    n_steps: int
    optimizer: OptimizerFactory
    schedule: Schedule
    loss: Loss
    batch_pixels: int | None
    key: tuple[int | str, ...]
    rate: float = 1.0

    def factor(self, step: int) -> float:
        """What the optimiser's own learning rate is multiplied by at a step, counted from 0."""
        return self.rate * self.schedule.factor(step, self.n_steps)

    def draws_pixels(self, n_pixels: int) -> bool:
        """Whether a step sees some pixels only of a block that has `n_pixels`."""
        return self.batch_pixels is not None and self.batch_pixels < n_pixels


class BlockProblem(NamedTuple):
    """Blocks to train: coordinates `(E, P)`, targets `(B, C, P)`, trained parameters `(B, ...)`."""

    network: BlockNetwork
    readout: Readout
    steps: StepSettings
    encoded: Tensor
    targets: Tensor
    start: Parameters


class BlockTrainer(Protocol):
    """Blocks in training; errors `(B,)` are as last measured.

    Blocks that have left the training stay as they are.
    """

    mse: Tensor
    best_mse: Tensor

    @property
    def step(self) -> int:
        """Steps taken."""

    @property
    def best(self) -> Parameters:
        """The best state of every block that was measured."""

    def advance(self, n_steps: int) -> None:
        """Take steps."""

    def evaluate(self) -> None:
        """Score the present state over all pixels."""

    def deactivate(self, blocks: Tensor) -> None:
        """Leave the blocks of a mask `(B,)` out of the computation, for good."""

    @property
    def is_idle(self) -> bool:
        """Whether no block is known to be in training."""


class EagerTrainer:
    """Blocks in training, with the best state of each that was measured so far."""

    def __init__(self, problem: BlockProblem) -> None:
        """Start from the parameters of a problem."""
        self.model, self.readout, settings, encoded, targets, start = problem
        self.settings, self.encoded, self.targets = settings, encoded, targets
        self.step = 0
        self._trained = {name: nn.Parameter(tensor.clone()) for name, tensor in start.items()}
        self._constants = {
            name: tensor
            for name, tensor in self.readout.constants(targets, self._trained).items()
            if name not in start
        }
        self._optimizer = settings.optimizer(self._trained.values())
        self._base_lr = float(self._optimizer.param_groups[0]["lr"])
        self.mse = self.best_mse = targets.new_full((len(targets),), torch.inf)
        self.best: Parameters = {}  # filled by the first measurement

    def advance(self, n_steps: int) -> None:
        """Take steps. With all pixels, each step first scores the state that it moves away from."""
        for _ in range(n_steps):
            pixels = self._pixels()
            encoded = self.encoded if pixels is None else self.encoded[:, pixels]
            targets = self.targets if pixels is None else self.targets[..., pixels]
            mse, readout_parameters = self._forward(encoded, targets)
            if pixels is None:
                self._remember(mse.detach(), readout_parameters)
            self._update(self.settings.loss(mse).sum())

    @torch.no_grad()
    def evaluate(self) -> None:
        """Score the present state over all pixels: brings `mse`, `best_mse` and `best` up to date.

        Between steps over all pixels the state before the last step, already scored, will do.
        """
        if self._draws_pixels or self.step == self.settings.n_steps:
            self._remember(*self._forward(self.encoded, self.targets))

    def compact(self, index: Tensor) -> None:
        """Leave all blocks but `index` out of the computation."""
        self._trained = keep_blocks(self._optimizer, self._trained, index)
        self.targets, self.mse = self.targets[index], self.mse[index]
        self.best, self.best_mse = select(self.best, index), self.best_mse[index]
        self._constants = select(self._constants, index)

    def _forward(self, encoded: Tensor, targets: Tensor) -> tuple[Tensor, Parameters]:
        features = self.model.mlp.features(self._trained, encoded)
        known = self._trained | self._constants
        readout_parameters = self.readout.solve(features, targets, known)
        outputs = self.model.head.outputs(features, readout_parameters)
        return (outputs - targets).square().mean(dim=(1, 2)), readout_parameters

    def _update(self, loss: Tensor) -> None:
        self._optimizer.param_groups[0]["lr"] = self._base_lr * self.settings.factor(self.step)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self.step += 1

    @property
    def _draws_pixels(self) -> bool:
        return self.settings.draws_pixels(self.encoded.shape[1])

    def _pixels(self) -> Tensor | None:
        n_drawn = self.settings.batch_pixels
        if n_drawn is None or not self._draws_pixels:
            return None
        n_pixels = self.encoded.shape[1]
        drawn = pixel_subset(n_pixels, n_drawn, self.step, *self.settings.key)
        return drawn.to(self.encoded.device)

    def _remember(self, mse: Tensor, readout_parameters: Parameters) -> None:
        self.mse = mse
        better = mse < self.best_mse  # false for NaN: a diverged state is never kept
        self.best_mse = torch.where(better, mse, self.best_mse)
        trained = {name: parameter.detach() for name, parameter in self._trained.items()}
        present = trained | {name: tensor.detach() for name, tensor in readout_parameters.items()}
        self.best = where(better, present, self.best or present)


def checkpoints(n_steps: int, every: int) -> Iterator[int]:
    """Steps at which blocks are measured: every `every` steps, and the last."""
    yield from range(every, n_steps, every)
    yield n_steps


class DenseTrainer(Protocol):
    """Blocks all of which are trained; errors `(B,)` are as last measured."""

    step: int
    mse: Tensor
    best_mse: Tensor

    @property
    def best(self) -> Parameters:
        """The best state of every block that was measured."""

    def advance(self, n_steps: int) -> None:
        """Take steps."""

    def evaluate(self) -> None:
        """Score the present state over all pixels."""

    def compact(self, index: Tensor) -> None:
        """Leave all blocks but `index` out of the computation."""


class CompactingTrainer:
    """`Steps` of all blocks, of which `inner` holds those that are still in training."""

    def __init__(self, inner: DenseTrainer) -> None:
        """Take steps of all blocks."""
        self.inner = inner
        self.mse, self.best_mse = inner.mse, inner.best_mse
        self._rows = torch.arange(len(inner.mse), device=inner.mse.device)
        self._best: Parameters = {}

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.inner.step

    @property
    def best(self) -> Parameters:
        """The best state of every block."""
        if not self._best:
            return self.inner.best
        self._gather(torch.ones_like(self._rows, dtype=torch.bool))
        return dict(self._best)

    @property
    def is_idle(self) -> bool:
        """Whether all blocks have left."""
        return len(self._rows) == 0

    def advance(self, n_steps: int) -> None:
        """Take steps with the blocks in training."""
        self.inner.advance(n_steps)
        self._spread()

    def evaluate(self) -> None:
        """Score the present state of the blocks in training."""
        self.inner.evaluate()
        self._spread()

    def deactivate(self, blocks: Tensor) -> None:
        """Compact what is in computation to the blocks that stay."""
        leaves = blocks[self._rows]
        if not leaves.any():
            return
        self._gather(leaves)
        stays = torch.nonzero(~leaves).flatten()
        self._rows = self._rows[stays]
        self.inner.compact(stays)

    def _spread(self) -> None:
        self.mse = self.mse.index_copy(0, self._rows, self.inner.mse)
        self.best_mse = self.best_mse.index_copy(0, self._rows, self.inner.best_mse)

    def _gather(self, which: Tensor) -> None:
        """Take the best states of some of the inner blocks."""
        for name, tensor in self.inner.best.items():
            if name not in self._best:
                self._best[name] = tensor.new_empty(len(self.mse), *tensor.shape[1:])
            self._best[name][self._rows[which]] = tensor[which]
