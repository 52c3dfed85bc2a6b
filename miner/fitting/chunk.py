"""The blocks of a chunk: their pixels, and the best fit of each."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from miner.fitting.block_fit import BlockFit
from miner.fitting.initialization import InitialState
from miner.models.network import Parameters, concatenate, select
from miner.representation.render import by_row
from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid
from miner.signals.regions import sides_of
from miner.signals.signal import Signal, prefetch

_BOX_PIXELS = 2**16  # in a box that is read at once
_DEVICE_BOX_VALUES = 2**22  # the same on a GPU, which small boxes leave idle


class Patches(NamedTuple):
    """Blocks `(B,)`, their pixels on the device that fits them, and how many are real."""

    blocks: Tensor
    signal: Tensor  # (B, C, *[patch_size] * D)
    prediction: Tensor
    valid_sizes: Tensor  # (B, D)

    def select(self, members: Tensor) -> "Patches":
        """Some of the blocks."""
        return Patches(*(tensor[members.to(tensor.device)] for tensor in self))

    def targets(self, spec: Spec, members: Tensor, valid_size: tuple[int, ...]) -> Tensor:
        """Targets `(B, C, P)` of some blocks over their real pixels."""
        index = members.to(self.signal.device)
        crop: tuple[Tensor | slice, ...] = (index, slice(None), *map(slice, valid_size))
        return spec.pyramid.target(self.signal[crop], self.prediction[crop]).flatten(2)


def gather(
    grid: PatchGrid, blocks: Tensor, signals: Sequence[Signal], max_pixels: int
) -> list[Tensor]:
    """Patches `(B, C, *[patch_size] * D)` of some blocks in each of several signals, on its device.

    Read in boxes of about `max_pixels` or less, however far apart the blocks are.
    """
    positions, n_axes = grid.positions(blocks), len(grid.sides)
    n_pixels = _BOX_PIXELS
    if any(signal.device.type != "cpu" for signal in signals):
        n_pixels = max(n_pixels, _DEVICE_BOX_VALUES // signals[0].n_channels)
    box_side = max(1, round(min(n_pixels, max_pixels) ** (1 / n_axes)) // grid.patch_size)
    members = [rows for _, rows in by_row(positions // box_side)]
    boxes = []
    for rows in members:
        corners = grid.patch_size * positions[rows]
        ends = zip(corners.amin(0).tolist(), corners.amax(0).tolist(), strict=True)
        boxes.append(grid.around(tuple((first, last + 1) for first, last in ends)))
    gathered = []
    for signal in signals:
        sides = (grid.patch_size,) * n_axes
        patches = torch.empty(len(blocks), signal.n_channels, *sides, device=signal.device)
        for rows, region, values in zip(members, boxes, prefetch(signal, boxes), strict=True):
            box = PatchGrid(sides_of(region), grid.patch_size)
            local = box.numbers(positions[rows] - positions[rows].amin(0))
            patches[rows.to(signal.device)] = box.cut(values, local)
        gathered.append(patches)
    return gathered


class WidthFit(NamedTuple):
    """The fit of a chunk's rows `(B,)` with networks of one width."""

    width: int
    rows: Tensor
    start: InitialState
    fit: BlockFit


def best_fits(
    predicted_mse: Tensor, fits: Sequence[WidthFit]
) -> tuple[Tensor, Tensor, Tensor, dict[int, Parameters], int]:
    """The best fit of each block, if it is better than its prediction; earlier ones win ties.

    Gives the rows with a network, ascending, their frames and widths, what is stored for each
    width, and how many have converged.
    """
    best_mse, best = predicted_mse.clone(), torch.full((len(predicted_mse),), -1)
    for number, (_, rows, _, fit) in enumerate(fits):
        better = fit.mse.double() < best_mse[rows]  # false for NaN
        best_mse[rows[better]] = fit.mse[better].double()
        best[rows[better]] = number
    kept = [(one, best[one.rows] == number) for number, one in enumerate(fits)]
    rows = torch.cat([one.rows[mask] for one, mask in kept])
    widths = torch.cat([torch.full_like(one.rows[mask], one.width) for one, mask in kept])
    stored = {}
    for width in widths.unique().tolist():
        parts = [select(one.fit.parameters, mask) for one, mask in kept if one.width == width]
        stored[width] = select(concatenate(parts), rows[widths == width].argsort())
    frames = torch.cat([one.start.frames[mask] for one, mask in kept])
    n_converged = sum(int(one.fit.converged[mask].sum()) for one, mask in kept)
    order = rows.argsort()
    return rows[order], frames[order], widths[order], stored, n_converged
