"""Blocks of which fewer and fewer are in computation."""

from typing import Protocol

import torch
from torch import Tensor

from miner.models.parameters import Parameters


class DenseSteps(Protocol):
    """Blocks all of which are trained; errors `(B,)` are as last measured."""

    step: int
    mse: Tensor
    best_mse: Tensor

    @property
    def best(self) -> Parameters:
        """The best state of every block that was measured."""

    def advance(self, n_steps: int) -> None:
        """Take steps."""

    def measure(self) -> None:
        """Score the present state over all pixels."""

    def keep(self, index: Tensor) -> None:
        """Leave all blocks but `index` out of the computation."""


class CompactedSteps:
    """`Steps` of all blocks, of which `inner` holds those that are still in training."""

    def __init__(self, inner: DenseSteps) -> None:
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

    def measure(self) -> None:
        """Score the present state of the blocks in training."""
        self.inner.measure()
        self._spread()

    def retire(self, blocks: Tensor) -> None:
        """Compact what is in computation to the blocks that stay."""
        leaves = blocks[self._rows]
        if not leaves.any():
            return
        self._gather(leaves)
        stays = torch.nonzero(~leaves).flatten()
        self._rows = self._rows[stays]
        self.inner.keep(stays)

    def _spread(self) -> None:
        self.mse = self.mse.index_copy(0, self._rows, self.inner.mse)
        self.best_mse = self.best_mse.index_copy(0, self._rows, self.inner.best_mse)

    def _gather(self, which: Tensor) -> None:
        """Take the best states of some of the inner blocks."""
        for name, tensor in self.inner.best.items():
            if name not in self._best:
                self._best[name] = tensor.new_empty(len(self.mse), *tensor.shape[1:])
            self._best[name][self._rows[which]] = tensor[which]
