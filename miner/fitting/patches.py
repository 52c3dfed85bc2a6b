"""The pixels of blocks on the device that fits them."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from miner.fitting.device import Checks, run_fit
from miner.fitting.halo import Surroundings
from miner.representation.rendering import by_row
from miner.signals.grid import PatchGrid
from miner.signals.regions import extended, sides_of
from miner.signals.signal import Signal, prefetch
from miner.support.errors import ConfigError

_BOX_PIXELS = 2**16  # in a box that is read at once
_DEVICE_BOX_VALUES = 2**22  # the same on a GPU, which small boxes leave idle
R = TypeVar("R")


class Patches(NamedTuple):
    """Blocks `(B,)`, their pixels on the device that fits them, and how many are real.

    `around` is the surroundings that their chunk's fits share, if the loss looks at a halo.
    """

    blocks: Tensor
    signal: Tensor  # (B, C, *[patch_size] * D)
    prediction: Tensor
    valid_sizes: Tensor  # (B, D)
    max_mse: Tensor  # (B,) the errors that they are to reach
    around: Surroundings | None = None

    def select(self, rows: Tensor) -> "Patches":
        """Those of some blocks."""
        index = rows.to(self.signal.device)
        signal, prediction = self.signal[index], self.prediction[index]
        others = self.valid_sizes[rows], self.max_mse[rows], self.around
        return Patches(self.blocks[rows], signal, prediction, *others)

    def finish(self, fit: Checks[R]) -> R:
        """Run a fit of the chunk's blocks to its end; at each check, neighbours are exchanged."""
        try:
            return run_fit(fit, self.around.exchange) if self.around else run_fit(fit)
        except torch.OutOfMemoryError as error:
            rule = "a loss with a halo keeps all of a chunk's blocks in memory, and it ran out"
            raise ConfigError(f"fitting.blocks_per_shard: {rule}; take fewer") from error

    def real(self, rows: Tensor, valid_size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Signal and prediction `(B, C, *valid_size)` of some blocks in their real pixels."""
        index = rows.to(self.signal.device)
        crop: tuple[Tensor | slice, ...] = (index, slice(None), *map(slice, valid_size))
        return self.signal[crop], self.prediction[crop]


def gather(
    grid: PatchGrid, blocks: Tensor, signals: Sequence[Signal], max_pixels: int, ring: int = 0
) -> list[Tensor]:
    """Patches `(B, C, *[patch_size] * D)` of blocks in each signal; few pixels are read at once.

    With a `ring`, they have so many pixels more at every side, beyond the signal those at its edge.
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
        sides = (grid.patch_size + 2 * ring,) * n_axes
        wider = [extended(region, grid.sides, ring, ring) for region in boxes]
        patches = torch.empty(len(blocks), signal.n_channels, *sides, device=signal.device)
        parts = zip(members, boxes, wider, prefetch(signal, wider), strict=True)
        for rows, region, around, values in parts:
            box = PatchGrid(sides_of(region), grid.patch_size)
            local = box.numbers(positions[rows] - positions[rows].amin(0))
            before = [first - low for (first, _), (low, _) in zip(region, around, strict=True)]
            patches[rows.to(signal.device)] = box.cut(values, local, ring, before)
        gathered.append(patches)
    return gathered
