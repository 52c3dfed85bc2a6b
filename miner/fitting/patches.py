"""The pixels of blocks on the device that fits them, and those around them.

A loss with a halo sees the neighbours in the same chunk as they were at the last check, others as
the coarser prediction alone, so that a chunk's fit depends on no other chunk, rank or start.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from miner.fitting.criteria import Loss
from miner.fitting.device import Checks, run_fit
from miner.pyramids.pyramid import Pyramid
from miner.representation.rendering import by_row
from miner.signals.grid import PatchGrid
from miner.signals.regions import extended, sides_of
from miner.signals.signal import Signal, prefetch
from miner.support.errors import ConfigError

_BOX_PIXELS = 2**16  # in a box that is read at once
_DEVICE_BOX_VALUES = 2**22  # the same on a GPU, which small boxes leave idle
R = TypeVar("R")


def gather(
    grid: PatchGrid, blocks: Tensor, signals: Sequence[Signal], max_pixels: int, ring: int = 0
) -> list[Tensor]:
    """Patches `(B, C, *[patch_size] * D)` of blocks in each signal; few pixels are read at once.

    With a `ring`, they have so many pixels more at every side, beyond the signal those at its edge.
    """
    positions, n_axes, size = grid.positions(blocks), len(grid.sides), grid.patch_size
    n_pixels = _BOX_PIXELS
    if any(signal.device.type != "cpu" for signal in signals):
        n_pixels = max(n_pixels, _DEVICE_BOX_VALUES // signals[0].n_channels)
    box_side = max(1, round(min(n_pixels, max_pixels) ** (1 / n_axes)) // size)
    members = [rows for _, rows in by_row(positions // box_side)]
    boxes, wider = [], []
    for rows in members:
        first, last = size * positions[rows].amin(0), size * positions[rows].amax(0)
        ends = zip(first.tolist(), (last + 1).tolist(), strict=True)
        boxes.append(grid.around(tuple(ends)))
        wider.append(extended(boxes[-1], grid.sides, ring, ring))
    gathered = []
    for signal in signals:
        sides = (size + 2 * ring,) * n_axes
        patches = torch.empty(len(blocks), signal.n_channels, *sides, device=signal.device)
        parts = zip(members, boxes, wider, prefetch(signal, wider), strict=True)
        for rows, region, around, values in parts:
            box = PatchGrid(sides_of(region), size)
            local = box.numbers(positions[rows] - positions[rows].amin(0))
            before = [first - low for (first, _), (low, _) in zip(region, around, strict=True)]
            patches[rows.to(signal.device)] = box.cut(values, local, ring, before)
        gathered.append(patches)
    return gathered


class Surroundings:
    """Errors of pixels, reconstruction minus signal, in a chunk's blocks and those around them."""

    def __init__(
        self,
        grid: PatchGrid,
        blocks: Tensor,
        halo: int,
        pixels: Callable[[Tensor], Sequence[Tensor]],
    ) -> None:
        """`pixels` gives signal and prediction `(B, C, *[patch_size] * D)` of blocks `(B,)`."""
        self.grid, self.halo = grid, halo
        offsets = torch.tensor(list(itertools.product((-1, 0, 1), repeat=len(grid.sides))))
        near = (grid.positions(blocks).unsqueeze(1) + offsets).flatten(0, 1)
        in_level = ((near >= 0) & (near < torch.tensor(grid.counts))).all(-1)
        self._blocks = grid.numbers(near[in_level]).unique()
        signal, prediction = pixels(self._blocks)
        self.at_check = prediction - signal
        self._latest = self.at_check.clone()

    def exchange(self) -> None:
        """All blocks are at a check: from now on, their neighbours see what they are now."""
        self.at_check.copy_(self._latest)

    def of(
        self, loss: Loss, blocks: Tensor, pyramid: Pyramid, targets: Tensor, *pixels: Tensor
    ) -> "LossWithHalo":
        """The loss of blocks `(B,)`; `pixels` are signal and prediction in their real pixels."""
        size, halo, n_axes = self.grid.patch_size, self.halo, len(self.grid.sides)
        window = F.pad(torch.zeros(pixels[0].shape[2:]), [halo] * 2 * n_axes, value=1.0)
        positions = self.grid.positions(blocks).unsqueeze(1)
        at = (window.nonzero() + positions * size - halo).clamp(min=0)  # (B, R, D)
        at = at.minimum(torch.tensor(self.grid.sides) - 1)
        is_own = (at // size == positions).all(-1)
        numbers = self.grid.numbers((at // size).flatten(0, 1)).view(is_own.shape)
        ring_rows = torch.searchsorted(self._blocks, numbers).where(~is_own, -1)
        strides = torch.tensor([size**axis for axis in reversed(range(n_axes))])
        ring = ring_rows, (at % size * strides).sum(-1), window.flatten().nonzero().flatten()
        rows = torch.searchsorted(self._blocks, blocks)
        index = (tensor.to(targets.device) for tensor in (rows, *ring))
        return LossWithHalo(loss, self, pyramid, targets, *pixels, *index)

    def record(self, rows: Tensor, errors: Tensor) -> None:
        """Remember errors `(B, C, *S)` of real pixels; a block without numbers is as it was."""
        place: tuple[Tensor | slice, ...] = (rows, slice(None), *map(slice, errors.shape[2:]))
        is_finite = errors.square().flatten(1).sum(1).isfinite().view(-1, *[1] * (errors.ndim - 1))
        self._latest[place] = errors.where(is_finite, self._latest[place])


def on_trial(loss: Loss, pyramid: Pyramid, n_axes: int, targets: Tensor) -> Loss:
    """The loss of two blocks with targets `(2, K, P)` that stand for squares or cubes of pixels."""
    if not loss.halo:
        return loss
    side = pyramid.step * round(targets.shape[-1] ** (1 / n_axes))
    grid, blocks = PatchGrid((2 * side, *[side] * (n_axes - 1)), side), torch.arange(2)
    flat = targets.new_zeros(2, targets.shape[1] // pyramid.bands(n_axes), *[side] * n_axes)
    around = Surroundings(grid, blocks, loss.halo, lambda blocks: (flat, flat))
    return around.of(loss, blocks, pyramid, targets, flat, flat)


@dataclass(frozen=True, repr=False)
class LossWithHalo(Loss):
    """The loss of a batch of blocks, which gives `loss` their surroundings, too."""

    loss: Loss
    around: Surroundings
    pyramid: Pyramid
    targets: Tensor  # (B, K, P)
    signal: Tensor  # (B, C, *S) of real pixels, as is the prediction
    prediction: Tensor
    rows: Tensor  # (B,) of the blocks in `around`
    ring_rows: Tensor  # (B, R) of the nearest pixels in the image to those around, -1 for own ones
    ring_pixels: Tensor  # (B, R)
    places: Tensor  # (R,) in a window of the block and its halo

    def __repr__(self) -> str:
        return repr(self.loss)  # in an error, without the tensors

    def __call__(self, residual: Tensor, mse: Tensor) -> Tensor:
        """The loss of the pixels that residuals `(B, K, P)` of targets come to, and their halo."""
        samples = (-(-side // self.pyramid.step) for side in self.signal.shape[2:])
        output = (residual + self.targets).unflatten(-1, tuple(samples))
        errors = self.pyramid.merge(self.prediction, output) - self.signal
        self.around.record(self.rows, errors.detach())
        pads = [self.around.halo] * 2 * (errors.ndim - 2)
        window = F.pad(errors, pads, mode="replicate")
        halo = self.around.at_check.flatten(2)[self.ring_rows, :, self.ring_pixels].movedim(-1, 1)
        halo = halo.where((self.ring_rows >= 0).unsqueeze(1), window.flatten(2)[..., self.places])
        return self.loss(window.flatten(2).index_copy(2, self.places, halo).view_as(window), mse)

    def select(self, rows: Tensor) -> "LossWithHalo":
        """That of some of the blocks."""
        names = "targets", "signal", "prediction", "rows", "ring_rows", "ring_pixels"
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


class Patches(NamedTuple):
    """Blocks `(B,)`, their pixels on the device that fits them, and how many are real."""

    blocks: Tensor
    signal: Tensor  # (B, C, *[patch_size] * D)
    prediction: Tensor
    valid_sizes: Tensor  # (B, D)
    max_mse: Tensor  # (B,) the errors that they are to reach
    around: Surroundings | None = None  # that their chunk's fits share, for a loss with a halo

    def select(self, rows: Tensor) -> "Patches":
        """Those of some blocks."""
        signal, prediction = self.real(rows, ())
        others = self.valid_sizes[rows], self.max_mse[rows], self.around
        return Patches(self.blocks[rows], signal, prediction, *others)

    def real(self, rows: Tensor, valid_size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Signal and prediction `(B, C, *valid_size)` of some blocks in their real pixels."""
        index = rows.to(self.signal.device)
        crop: tuple[Tensor | slice, ...] = (index, slice(None), *map(slice, valid_size))
        return self.signal[crop], self.prediction[crop]

    def finish(self, fit: Checks[R]) -> R:
        """Run a fit of the chunk's blocks to its end; at each check, neighbours are exchanged."""
        try:
            return run_fit(fit, self.around.exchange) if self.around else run_fit(fit)
        except torch.OutOfMemoryError as error:
            rule = "a loss with a halo keeps all of a chunk's blocks in memory, and it ran out"
            raise ConfigError(f"fitting.blocks_per_shard: {rule}; take fewer") from error
