"""The blocks of a chunk: their pixels, and the best fit of each."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from miner.fitting.block_fit import BlockFit
from miner.fitting.initialization import InitialState
from miner.models.parameters import Parameters, concatenate, select
from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid
from miner.signals.regions import Region, sides_of
from miner.signals.signal import Signal, prefetch

_BOX_PIXELS = 2**16  # in a box that is read at once
_DEVICE_BOX_VALUES = 2**22  # the same on a GPU, which small boxes leave idle


class Patches(NamedTuple):
    """Blocks `(B,)`, their signal and prediction `(B, C, *[patch_size] * D)`, real pixels `(B, D)`.

    Pixels are on the device that fits them, everything else about blocks is in the host's memory.
    """

    blocks: Tensor
    signal: Tensor
    prediction: Tensor
    valid_sizes: Tensor

    def select(self, members: Tensor) -> "Patches":
        """Some of the blocks."""
        index = members.to(self.signal.device)
        pixels = self.signal[index], self.prediction[index]
        return Patches(self.blocks[members], *pixels, self.valid_sizes[members])

    def targets(self, spec: Spec, members: Tensor, valid_size: tuple[int, ...]) -> Tensor:
        """Targets `(B, C, P)` of some blocks over their real pixels."""
        index = members.to(self.signal.device)
        crop: tuple[Tensor | slice, ...] = (index, slice(None), *map(slice, valid_size))
        return spec.pyramid.target(self.signal[crop], self.prediction[crop]).flatten(2)


def gather(
    grid: PatchGrid, blocks: Tensor, signals: Sequence[Signal], max_pixels: int
) -> list[Tensor]:
    """Patches `(B, C, *[patch_size] * D)` of some blocks in each of several signals, on its device.

    Read box by box, so that memory does not depend on how far apart the blocks are; a box has
    about `max_pixels` pixels or less.
    """
    positions, n_axes = grid.positions(blocks), len(grid.sides)
    n_pixels = _BOX_PIXELS
    if any(signal.device.type != "cpu" for signal in signals):
        n_pixels = max(n_pixels, _DEVICE_BOX_VALUES // signals[0].n_channels)
    box_side = max(1, round(min(n_pixels, max_pixels) ** (1 / n_axes)) // grid.patch_size)
    corners, membership = torch.unique(positions // box_side, dim=0, return_inverse=True)
    members = [torch.nonzero(membership == box).flatten() for box in range(len(corners))]
    boxes = [_box_around(grid, positions[rows]) for rows in members]
    gathered = []
    for signal in signals:
        sides = (grid.patch_size,) * n_axes
        patches = torch.empty(len(blocks), signal.n_channels, *sides, device=signal.device)
        read = prefetch(signal, [region for region, _ in boxes])
        for rows, (region, local), values in zip(members, boxes, read, strict=True):
            box = PatchGrid(sides_of(region), grid.patch_size)
            patches[rows.to(signal.device)] = box.cut(values, box.numbers(local))
        gathered.append(patches)
    return gathered


def _box_around(grid: PatchGrid, positions: Tensor) -> tuple[Region, Tensor]:
    """The smallest box around some patches, and their positions in it."""
    first, last = positions.amin(0), positions.amax(0)
    region = tuple(
        (low * grid.patch_size, min(side, (high + 1) * grid.patch_size))
        for low, high, side in zip(first.tolist(), last.tolist(), grid.sides, strict=True)
    )
    return region, positions - first


class WidthFit(NamedTuple):
    """Stored tensors of the chunk's rows `(B,)` that were fitted with one width.

    The error of `fit` is infinite where a stored number is not finite.
    """

    width: int
    rows: Tensor
    start: InitialState
    fit: BlockFit


class BestFits:
    """The best fit of each block of a chunk, if it is better than the block's prediction.

    Takes the errors of predictions, `(B,)` float64, and fits, of which earlier ones win ties.
    `rows` are the blocks with a network, ascending; `widths` `(B,)` is 0 for the others.
    """

    def __init__(self, predicted_mse: Tensor, fits: Sequence[WidthFit]) -> None:
        n_blocks, frames = len(predicted_mse), fits[0].start.frames
        self.widths = torch.zeros(n_blocks, dtype=torch.long)
        self.frames = frames.new_zeros(n_blocks, frames.shape[1])
        self.converged = torch.zeros(n_blocks, dtype=torch.bool)
        self._fits, self._chosen = fits, torch.full((n_blocks,), -1)
        best_mse = predicted_mse.clone()
        for number, (width, rows, start, fit) in enumerate(fits):
            better = fit.mse.double() < best_mse[rows]  # false for NaN
            chosen = rows[better]
            best_mse[chosen] = fit.mse[better].double()
            self.widths[chosen] = width
            self.frames[chosen] = start.frames[better]
            self.converged[chosen] = fit.converged[better]
            self._chosen[chosen] = number
        self.rows = torch.nonzero(self.widths).flatten()

    def by_width(self) -> dict[int, Parameters]:
        """Stored tensors of each width, its blocks in ascending order."""
        kept: dict[int, list[tuple[Tensor, Parameters]]] = defaultdict(list)
        for number, (width, rows, _, fit) in enumerate(self._fits):
            is_best = self._chosen[rows] == number
            if is_best.any():
                kept[width].append((rows[is_best], select(fit.parameters, is_best)))
        stored = {}
        for width, parts in sorted(kept.items()):
            order = torch.cat([rows for rows, _ in parts]).argsort()
            stored[width] = select(concatenate([parameters for _, parameters in parts]), order)
        return stored
