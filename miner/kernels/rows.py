"""Blocks in training as rows of numbers: what the trainers in C and in Triton share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from miner.fitting.steps import BlockProblem
from miner.kernels.ops import NetworkNumbers, coefficients_of
from miner.models.heads import AMPLITUDE, WEIGHT
from miner.models.network import BlockNetwork, Parameters


class RowLayout:
    """Where a block's parameters are in its row: in the network's order, the amplitude last."""

    def __init__(
        self,
        network: BlockNetwork,
        order: Callable[[str], int] = lambda name: name == AMPLITUDE,
        padded: Callable[[int], int] = int,
        part: int = 1,
    ) -> None:
        """Sort by `order` of a name; sides grow to `padded`, the readout starts a whole `part`."""
        self.shapes, self.offsets, self._padded = network.shapes(), dict[str, int](), padded
        offset = 0
        for name in sorted(self.shapes, key=order):
            if name in (WEIGHT, AMPLITUDE):
                offset = -(-offset // part) * part
            self.offsets[name] = offset
            offset += math.prod(map(padded, self.shapes[name]))
        self.length = -(-offset // part) * part

    def rows(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Parameters `(B, ...)` as rows `(B, length)`; what is missing is zero."""
        some = next(iter(parameters.values()))
        rows = some.new_zeros(len(some), self.length)
        for name, part in self.parameters(rows).items():
            if name in parameters:
                part.copy_(parameters[name])
        return rows

    def parameters(self, rows: Tensor) -> Parameters:
        """All parameters `(B, ...)` as views of rows."""
        found = {}
        for name, shape in self.shapes.items():
            padded = tuple(map(self._padded, shape))
            part = rows[:, self.offsets[name] :][:, : math.prod(padded)]
            found[name] = part.view(len(rows), *padded)[(slice(None), *map(slice, shape))]
        return found


class RowTrainer(ABC):
    """Blocks in training: rows of `trained` parameters, `first` and `second` moments.

    Blocks leave by a mask: the program passes over those that are not in `training`.
    """

    def __init__(self, problem: BlockProblem, layout: RowLayout) -> None:
        """Start from the parameters of a problem."""
        network, readout, self.settings, _encoded, targets, start = problem
        self.step, self.layout, self.n_pixels = 0, layout, targets.shape[-1]
        self.numbers = NetworkNumbers.of(network, readout, self.settings.loss)
        self.trained = layout.rows(readout.constants(targets, start) | start)
        self.first, self.second = torch.zeros_like(self.trained), torch.zeros_like(self.trained)
        self.best_rows = self.trained.clone()
        self.mse = self.best_mse = targets.new_full((len(targets),), torch.inf)
        self.training = torch.ones_like(self.mse, dtype=torch.int8)
        coefficients = coefficients_of(self.settings, range(self.settings.n_steps))
        self.coefficients = coefficients.to(targets.device)

    @property
    def best(self) -> Parameters:
        """The best state of every block, `(B, ...)`."""
        return self.layout.parameters(self.best_rows)

    def advance(self, n_steps: int) -> None:
        """Take steps. With all pixels, each first evaluates the state that it changes."""
        self._start(n_steps, moves=True)
        self.step += n_steps

    def evaluate(self) -> None:
        """Evaluate the present state, unless the one before the last step suffices."""
        if self.settings.draws_pixels(self.n_pixels) or self.step == self.settings.n_steps:
            self._start(1, moves=False)

    def deactivate(self, blocks: Tensor) -> bool:
        """Leave blocks out; says if all are out, on a GPU never: asking would mean waiting."""
        self.training = (~blocks).to(torch.int8)
        return not (self.training.is_cuda or self.training.any())

    def _start(self, n_steps: int, moves: bool) -> None:
        self.mse, self.best_mse = self.mse.clone(), self.best_mse.clone()  # callers hold the old
        self._run(n_steps, moves)

    @abstractmethod
    def _run(self, n_steps: int, moves: bool) -> None:
        """Run the program from `step` on. Without `moves` it evaluates all pixels, no more."""
