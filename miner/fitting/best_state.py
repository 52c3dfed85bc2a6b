"""The best fit of each block, and the quality curve of a chunk."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.fitting.initialization import InitialState
from miner.models.parameters import Parameters, concatenate, moved, select
from miner.signals.signal import CPU

Curve = tuple[tuple[int, float, float], ...]
"""(steps so far, seconds so far, summed squared error) in the order of time."""


def merge_curves(curves: Sequence[Curve]) -> Curve:
    """Sum (step, seconds, squared error) curves over parts that ran one after another.

    A part that stopped early keeps its last values.
    """
    points = [(point[0], part, *point[1:]) for part, curve in enumerate(curves) for point in curve]
    last = [(curve[0][1], curve[0][2]) for curve in curves]
    merged: dict[int, tuple[float, float]] = {}
    for step, part, seconds, error in sorted(points):
        last[part] = (seconds, error)
        merged[step] = (sum(s for s, _ in last), sum(e for _, e in last))
    return tuple((step, seconds, error) for step, (seconds, error) in merged.items())


def scaled(curve: Curve, factor: float) -> Curve:
    """The curve with its errors multiplied."""
    return tuple((step, seconds, factor * error) for step, seconds, error in curve)


def no_longer_than(curve: Curve, seconds: float) -> Curve:
    """The curve of parts of which some ran side by side, so that all took no more than this."""
    longest = max((at for _, at, _ in curve), default=0.0)
    factor = seconds / longest if longest > seconds else 1.0
    return tuple((step, factor * at, error) for step, at, error in curve)


def later(curve: Curve, seconds: float) -> Curve:
    """The curve of a part that began some seconds later."""
    return tuple((step, at + seconds, error) for step, at, error in curve)


@dataclass(frozen=True)
class GroupFit:
    """Stored tensors `(B, ...)`, their errors `(B,)`, and how the fit went.

    The error is infinite where a stored number is not finite. Masks `(B,)` say which blocks
    converged, which diverged and were fitted again at a lower rate, and which diverged there too.
    `curve` holds the summed squared error in training, without those second fits.
    """

    stored: Parameters
    mse: Tensor
    converged: Tensor
    diverged: Tensor
    diverged_again: Tensor
    curve: Curve


def joined(parts: Sequence[Tensor], fits: Sequence[GroupFit]) -> GroupFit:
    """The fits of parts that ran one after another as one, in the host's memory.

    `parts` says which blocks `(B,)` of the group each of them has.
    """
    order = torch.cat(list(parts)).argsort()

    def together(*tensors: Tensor) -> Tensor:
        return torch.cat(tensors).cpu()[order]

    return GroupFit(
        stored=select(moved(concatenate([fit.stored for fit in fits]), CPU), order),
        mse=together(*(fit.mse for fit in fits)),
        converged=together(*(fit.converged for fit in fits)),
        diverged=together(*(fit.diverged for fit in fits)),
        diverged_again=together(*(fit.diverged_again for fit in fits)),
        curve=merge_curves([fit.curve for fit in fits]),
    )


@dataclass(frozen=True)
class FittedGroup:
    """Rows of a chunk that were fitted with one width."""

    width: int
    rows: Tensor
    start: InitialState
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
