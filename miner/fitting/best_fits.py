"""What is kept of a chunk whose blocks were fitted several times: the best of each."""

from dataclasses import dataclass

import torch
from torch import Tensor

from miner.fitting.group_fit import GroupFit
from miner.fitting.weights import Start
from miner.models.parameters import Parameters, concatenate, select


@dataclass(frozen=True)
class FittedGroup:
    """Rows of a chunk that were fitted with one width."""

    width: int
    rows: Tensor
    start: Start
    fit: GroupFit


class BestFits:
    """The best fit of each block of a chunk, if it is better than the block's prediction."""

    def __init__(self, predicted_mse: Tensor) -> None:
        """Take the errors that blocks have without a network, `(B,)`."""
        n_blocks = len(predicted_mse)
        self.mse = predicted_mse.clone()
        self.widths = torch.zeros(n_blocks, dtype=torch.long)
        self.frames = torch.zeros(0)
        self.converged = torch.zeros(n_blocks, dtype=torch.bool)
        self._group = torch.full((n_blocks,), -1)
        self._groups: list[FittedGroup] = []

    @property
    def rows(self) -> Tensor:
        """Blocks that are stored, ascending."""
        return torch.nonzero(self.widths).flatten()

    def add(self, group: FittedGroup) -> None:
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
