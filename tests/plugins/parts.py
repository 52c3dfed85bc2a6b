"""A class of one's own for each group that has no longer example beside this one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from miner.fitting.capacity import Capacity, WidthRequest
from miner.fitting.criteria import Pruning, Schedule
from miner.fitting.initialization import Parents, Weights
from miner.fitting.readout import ClosedFormReadout
from miner.fitting.selection import Candidates, LevelSelection
from miner.metrics.objective import Objective
from miner.models.encodings import Encoding
from miner.models.network import Parameters
from miner.representation.storage import Storage
from miner.support.ranges import Positive


@dataclass(frozen=True)
class Powers(Encoding):
    """x, x^2, ..., x^n along each axis."""

    n_powers: int = 3

    def __call__(self, coordinates: Tensor) -> Tensor:
        return torch.cat([coordinates**k for k in range(1, self.n_powers + 1)])


@dataclass(frozen=True)
class MeanReadout(ClosedFormReadout):
    """The mean of a block's targets, whatever its features are."""

    def solve(self, features: Tensor, targets: Tensor, known: Mapping[str, Tensor]) -> Parameters:
        solved = super().solve(features, targets, known)
        return {"readout.weight": 0 * solved["readout.weight"], "readout.bias": targets.mean(-1)}


@dataclass(frozen=True)
class AlternatingCapacity(Capacity):
    """One width for every other block."""

    other: int = 5

    def assign(self, request: WidthRequest) -> Tensor:
        widths = torch.full_like(request.n_pixels, request.width)
        widths[1::2] = self.other
        return widths


@dataclass(frozen=True)
class EveryOtherBlock(LevelSelection):
    """Half of the blocks of a level, whatever their errors are."""

    def active(self, blocks: Candidates) -> Tensor:
        return torch.arange(len(blocks.due)) % 2 == 0

    def bounds(self, blocks: Candidates) -> Tensor:
        return torch.full_like(blocks.predicted_mse, blocks.max_mse)


@dataclass(frozen=True)
class MirroredWeights(Weights):
    """Parents' parameters with the other sign."""

    def inherited(self, parents: Parents) -> Parents:
        mirrored = {name: -tensor for name, tensor in parents.hidden.items()}
        return parents._replace(hidden=mirrored, frames=0 * parents.frames)


@dataclass(frozen=True)
class SuddenSchedule(Schedule):
    """The full rate, and in the second half none."""

    def factor(self, step: int, n_steps: int) -> float:
        return float(2 * step < n_steps)


@dataclass(frozen=True)
class FirstCheckPruning(Pruning):
    """Every block leaves at the first check."""

    def converged(self, mse: Tensor, mse_before: Tensor, max_mse: float) -> Tensor:
        return mse_before.isinf()


@dataclass(frozen=True)
class BFloat16Storage(Storage):
    """Two bytes a parameter, with the range of float32."""

    def encode(self, parameters: Mapping[str, Tensor]) -> Parameters:
        return {name: tensor.bfloat16() for name, tensor in parameters.items()}


@dataclass(frozen=True)
class Smallest(Objective):
    """Few bytes, whatever the quality."""

    weight: Positive = 1.0

    def value(self, report: Mapping[str, Any]) -> float:
        return -self.weight * float(report["file_bytes"])
