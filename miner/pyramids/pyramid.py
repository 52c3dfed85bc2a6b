"""Pyramids: how levels are reduced and expanded, what their blocks fit, and how they are merged.

`s` is a level's signal `(C, *S)`, `p` its prediction, which is the next coarser level, expanded, or
zero at the coarsest; `merge(p, target(s, p)) = s`.
"""

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from miner.support.ranges import rule, whole
from miner.support.tensors import Tensor

NLevels = Annotated[
    Literal["auto"] | Annotated[int, whole(1, 32)], rule("be a whole number from 1 to 32, or auto")
]


@dataclass(frozen=True)
class Pyramid(ABC):
    """A multiscale decomposition of `n_levels` levels; level 0 is full resolution.

    Signals are reduced and expanded region by region: what `reduce` and `expand` give for a pixel
    must depend, to the bit, on no other pixels than its own and those within reach around them.
    """

    reduce_reach: ClassVar[int] = 0  # finer pixels that `reduce` reads beside the 2^D of a pixel
    expand_reach: ClassVar[int] = 1  # coarser pixels that `expand` reads beside the one above
    merges_prediction: ClassVar[bool] = True  # else `merge` gives its output alone
    step: ClassVar[int] = 1  # pixels a side that share a sample of `target`: 2 in a wavelet's
    n_levels: NLevels = "auto"  # the fewest whose coarsest longer side is at most 4 patches

    def levels_for(self, sides: tuple[int, ...], patch_size: int) -> int:
        """Number of levels for a signal with these sides."""
        if self.n_levels != "auto":
            return self.n_levels
        return 1 + ((max(sides) - 1) // (4 * patch_size)).bit_length()

    def level_shape(self, level: int, sides: tuple[int, ...], channels: int) -> tuple[int, ...]:
        """Shape `(C, *S)` of a level of any pyramid: sides are halved and rounded up."""
        return channels, *(-(-side // 2**level) for side in sides)

    def reduce(self, signal: Tensor) -> Tensor:
        """The next coarser level `(C, *ceil(S / 2))`: means of 2^D pixels; an odd end repeats."""
        import torch

        for axis in range(1, signal.ndim):
            if signal.shape[axis] % 2:
                signal = torch.cat([signal, signal.narrow(axis, -1, 1)], dim=axis)
            even, odd = signal.unflatten(axis, (-1, 2)).unbind(axis + 1)
            signal = 0.5 * (even + odd)
        return signal

    def expand(self, signal: Tensor, sides: tuple[int, ...]) -> Tensor:
        """A level `(C, *ceil(sides / 2))` at the next finer `sides`, linear, with clamped edges."""
        import torch

        # The order of operations is fixed, so that a region expands to the same bits as the whole.
        for axis, side in enumerate(sides, start=1):
            n = signal.shape[axis]
            padded = torch.cat(
                [signal.narrow(axis, 0, 1), signal, signal.narrow(axis, -1, 1)], axis
            )
            neighbours = padded.narrow(axis, 0, n), padded.narrow(axis, 2, n)
            # x + (y - x) / 4 rather than 3/4 x + 1/4 y: constants are kept exactly.
            halves = [signal + 0.25 * (neighbour - signal) for neighbour in neighbours]
            signal = torch.stack(halves, axis + 1).flatten(axis, axis + 1).narrow(axis, 0, side)
        return signal.contiguous()

    def interpolate(self, signal: Tensor, coordinates: Tensor) -> Tensor:
        """Values `(C, N)` of a level `(C, *S)` at points `(D, N)` between its pixels, here linear.

        Points count in the level's pixels, rows first; the centre of pixel i is at i + 0.5, so that
        the finer level's pixel j lies at (j + 0.5) / 2, where the value is that of `expand`.
        """
        places = coordinates - 0.5
        low, flat, values = places.detach().floor(), signal.flatten(1), []
        for corner in itertools.product((0, 1), repeat=len(coordinates)):
            index = low[0].long() * 0
            for first, k, side in zip(low.long(), corner, signal.shape[1:], strict=True):
                index = index * side + (first + k).clamp(0, side - 1)
            values.append(flat.index_select(1, index))
        for share in reversed((places - low).to(signal.dtype)):  # the last axis first
            values = [a + share * (b - a) for a, b in zip(values[::2], values[1::2], strict=True)]
        return values[0]

    def bands(self, n_axes: int) -> int:
        """Values per channel of a sample of `target`: K = bands * C."""
        return 1

    @abstractmethod
    def is_signed(self, is_coarsest: bool) -> bool:
        """Whether targets of a level have either sign; else they lie in the unit range."""

    @abstractmethod
    def target(self, signal: Tensor, prediction: Tensor) -> Tensor:
        """What blocks fit: `(B, K, *ceil(P / step))` of `s` and `p` in their pixels `(B, C, *P)`.

        Where K or `step` is not that of the pixels, a sum of squares must be at least what `merge`
        makes of it, as that of an orthonormal transform is: the blocks' error is measured by it.
        """

    @abstractmethod
    def merge(self, prediction: Tensor, output: Tensor) -> Tensor:
        """The reconstruction `(B, C, *P)` where blocks are active; of each sample, in its pixels.

        Pixels beyond the image may be among `P` here; the others must not depend on them.
        """


@dataclass(frozen=True)
class GaussianPyramid(Pyramid):
    """Every active block fits the signal itself (Burt and Adelson 1983, "Gaussian pyramid")."""

    merges_prediction: ClassVar[bool] = False

    def is_signed(self, is_coarsest: bool) -> bool:
        """Never."""
        return False

    def target(self, signal: Tensor, prediction: Tensor) -> Tensor:
        """`s`."""
        return signal

    def merge(self, prediction: Tensor, output: Tensor) -> Tensor:
        """The blocks' output alone."""
        return output


@dataclass(frozen=True)
class LaplacianPyramid(Pyramid):
    """Every active block fits what the coarser reconstruction lacks (MINER, arXiv 2202.03532).

    MINER's residual is of the ideal coarser level; here, errors of coarse levels do not accumulate.
    """

    def is_signed(self, is_coarsest: bool) -> bool:
        """But at the coarsest level, where `p` is zero."""
        return not is_coarsest

    def target(self, signal: Tensor, prediction: Tensor) -> Tensor:
        """`s - p`."""
        return signal - prediction

    def merge(self, prediction: Tensor, output: Tensor) -> Tensor:
        """`p + output`."""
        return prediction + output
