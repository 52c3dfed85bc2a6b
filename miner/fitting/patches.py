"""The pixels of a chunk's blocks, gathered from wherever the level lies."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid
from miner.signals.regions import Region, sides_of
from miner.signals.signal import Signal, prefetch

_CELL_PIXELS = 2**16  # in a box that is read at once


_DEVICE_CELL_VALUES = 2**22  # the same on a GPU, which small boxes leave idle


@dataclass(frozen=True)
class Patches:
    """A chunk's signal and prediction, `(B, C, *[patch_size] * D)`, and real pixels `(B, D)`.

    Pixels lie on the device that fits them, everything else about blocks in the host's memory.
    """

    signal: Tensor
    prediction: Tensor
    valid_sizes: Tensor

    def select(self, members: Tensor) -> "Patches":
        """Some of the blocks."""
        there = members.to(self.signal.device)
        return Patches(self.signal[there], self.prediction[there], self.valid_sizes[members])

    def targets(self, spec: Spec, part: Tensor, valid_size: tuple[int, ...]) -> Tensor:
        """Targets `(B, C, P)` over real pixels."""
        there = part.to(self.signal.device)
        crop: tuple[Tensor | slice, ...] = (there, slice(None), *map(slice, valid_size))
        signal, prediction = self.signal[crop], self.prediction[crop]
        return spec.pyramid.target(signal, prediction).flatten(2)


def gather(grid: PatchGrid, blocks: Tensor, signals: Sequence[Signal]) -> list[Tensor]:
    """Patches `(B, C, *[patch_size] * D)` of some blocks in each of several signals.

    They lie where the signals do. Read cell by cell, so that memory does not depend on how far
    apart the blocks lie.
    """
    positions, n_axes = grid.positions(blocks), len(grid.sides)
    n_pixels = _CELL_PIXELS
    if any(image_signal.device.type != "cpu" for image_signal in signals):
        n_pixels = max(n_pixels, _DEVICE_CELL_VALUES // signals[0].n_channels)
    cell_side = max(1, round(n_pixels ** (1 / n_axes)) // grid.patch_size)
    cells, membership = torch.unique(positions // cell_side, dim=0, return_inverse=True)
    sides = (grid.patch_size,) * n_axes
    gathered = [
        torch.empty(len(blocks), image_signal.n_channels, *sides, device=image_signal.device)
        for image_signal in signals
    ]
    members = [torch.nonzero(membership == cell).flatten() for cell in range(len(cells))]
    boxes = [_box(grid, positions[rows]) for rows in members]
    for patches, image_signal in zip(gathered, signals, strict=True):
        read = prefetch(image_signal, [region for region, _ in boxes])
        for rows, (region, local), values in zip(members, boxes, read, strict=True):
            own = PatchGrid(sides_of(region), grid.patch_size)
            patches[rows.to(image_signal.device)] = own.cut(values, own.numbers(local))
    return gathered


def _box(grid: PatchGrid, positions: Tensor) -> tuple[Region, Tensor]:
    """The smallest box around some patches, and where they lie in it."""
    first, last = positions.amin(0), positions.amax(0)
    region = tuple(
        (low * grid.patch_size, min(side, (high + 1) * grid.patch_size))
        for low, high, side in zip(first.tolist(), last.tolist(), grid.sides, strict=True)
    )
    return region, positions - first
