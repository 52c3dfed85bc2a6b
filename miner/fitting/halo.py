"""A loss that looks at a halo: the pixels of a block, and its neighbours' around them.

Neighbours in the same chunk count as they were at the last check, others as the coarser prediction
alone, so that a chunk's fit depends on no other chunk, rank or earlier start.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from miner.fitting.criteria import Loss
from miner.pyramids.pyramid import Pyramid
from miner.signals.grid import PatchGrid


class Surroundings:
    """Errors of pixels, reconstruction minus signal, in a chunk's blocks and those around them."""

    def __init__(
        self, grid: PatchGrid, blocks: Tensor, halo: int, errors: Callable[[Tensor], Tensor]
    ) -> None:
        """`errors` gives those of the prediction, `(B, C, *[patch_size] * D)` for blocks `(B,)`."""
        self.grid, self.halo = grid, halo
        offsets = torch.tensor(list(itertools.product((-1, 0, 1), repeat=len(grid.sides))))
        near = (grid.positions(blocks).unsqueeze(1) + offsets).flatten(0, 1)
        in_level = ((near >= 0) & (near < torch.tensor(grid.counts))).all(-1)
        self._blocks = grid.numbers(near[in_level]).unique()
        self._at_check = errors(self._blocks)
        self._latest = self._at_check.clone()

    def exchange(self) -> None:
        """All blocks are at a check: from now on, their neighbours see what they are now."""
        self._at_check.copy_(self._latest)

    def of(
        self, loss: Loss, blocks: Tensor, pyramid: Pyramid, targets: Tensor, *pixels: Tensor
    ) -> "LossWithHalo":
        """The loss of blocks `(B,)`; `pixels` are signal and prediction in their real pixels."""
        rows, device = torch.searchsorted(self._blocks, blocks), targets.device
        ring = self._ring(blocks, pixels[0].shape[2:])
        index = (tensor.to(device) for tensor in (rows, *ring))
        return LossWithHalo(loss, self, pyramid, targets, *pixels, *index)

    def _ring(self, blocks: Tensor, valid_size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Rows and pixels `(B, R)` of what is around blocks, and its places in a window `(R,)`.

        Beyond the image it is the nearest pixel, with the row -1 where that is the block's own.
        """
        size, halo, n_axes = self.grid.patch_size, self.halo, len(valid_size)
        is_ring = F.pad(torch.zeros(tuple(valid_size)), [halo] * 2 * n_axes, value=1.0)
        positions = self.grid.positions(blocks).unsqueeze(1)
        at = (is_ring.nonzero() + positions * size - halo).clamp(min=0)  # (B, R, D)
        at = at.minimum(torch.tensor(self.grid.sides) - 1)
        is_own = (at // size == positions).all(-1)
        numbers = self.grid.numbers((at // size).flatten(0, 1)).view(is_own.shape)
        rows = torch.searchsorted(self._blocks, numbers).where(~is_own, -1)
        strides = torch.tensor([size**axis for axis in reversed(range(n_axes))])
        return rows, (at % size * strides).sum(-1), is_ring.flatten().nonzero().flatten()

    def record(self, rows: Tensor, errors: Tensor) -> None:
        """Remember errors `(B, C, *S)` of real pixels; a block without numbers is as it was."""
        place: tuple[Tensor | slice, ...] = (rows, slice(None), *map(slice, errors.shape[2:]))
        is_finite = errors.square().flatten(1).sum(1).isfinite().view(-1, *[1] * (errors.ndim - 1))
        self._latest[place] = errors.where(is_finite, self._latest[place])

    def errors(self, rows: Tensor, pixels: Tensor) -> Tensor:
        """Errors at the last check, `(B, C, R)`, in rows and pixels `(B, R)`."""
        return self._at_check.flatten(2)[rows, :, pixels].movedim(-1, 1)


def on_trial(loss: Loss, pyramid: Pyramid, n_axes: int, targets: Tensor) -> Loss:
    """The loss of two blocks with targets `(2, K, P)` that stand for squares or cubes of pixels."""
    if not loss.halo:
        return loss
    side = pyramid.step * round(targets.shape[-1] ** (1 / n_axes))
    grid, blocks = PatchGrid((2 * side, *[side] * (n_axes - 1)), side), torch.arange(2)
    n_channels = targets.shape[1] // pyramid.bands(n_axes)
    flat = targets.new_zeros(2, n_channels, *[side] * n_axes)
    around = Surroundings(grid, blocks, loss.halo, lambda blocks: flat.clone())
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
    ring_rows: Tensor  # (B, R), as are the pixels
    ring_pixels: Tensor
    places: Tensor  # (R,)

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
        halo = self.around.errors(self.ring_rows, self.ring_pixels)
        halo = halo.where((self.ring_rows >= 0).unsqueeze(1), window.flatten(2)[..., self.places])
        return self.loss(window.flatten(2).index_copy(2, self.places, halo).view_as(window), mse)

    def select(self, rows: Tensor) -> "LossWithHalo":
        """That of some of the blocks."""
        names = "targets", "signal", "prediction", "rows", "ring_rows", "ring_pixels"
        return replace(self, **{name: getattr(self, name)[rows] for name in names})
