"""Cut a signal into patches, put patches back, and the coordinates inside a patch.

Axis letters of the whole package: `B` blocks, `P` pixels of a block, `D` coordinate axes,
`E` encoded coordinates, `H` hidden features, `C` channels, `S` spatial sides.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """The patches of `patch_size` pixels a side that cover a signal; row-major block numbers.

    Patches at the far edges may hold fewer real pixels; their `extent` says how many.
    """

    sides: tuple[int, ...]
    patch_size: int

    @property
    def counts(self) -> tuple[int, ...]:
        """Patches along each axis."""
        return tuple(math.ceil(side / self.patch_size) for side in self.sides)

    @property
    def n_blocks(self) -> int:
        """Patches in all."""
        return math.prod(self.counts)

    def positions(self, blocks: Tensor) -> Tensor:
        """Patch coordinates `(B, D)` of block numbers `(B,)`."""
        return torch.stack(torch.unravel_index(blocks, self.counts), dim=-1)

    def numbers(self, positions: Tensor) -> Tensor:
        """Block numbers `(B,)` of patch coordinates `(B, D)`."""
        numbers = torch.zeros(len(positions), dtype=torch.long)
        for axis, count in enumerate(self.counts):
            numbers = numbers * count + positions[:, axis]
        return numbers

    def extents(self, blocks: Tensor) -> Tensor:
        """Real pixels along each axis, `(B, D)`, between 1 and `patch_size`."""
        left = torch.tensor(self.sides) - self.positions(blocks) * self.patch_size
        return left.clamp(max=self.patch_size)

    def cut(self, signal: Tensor, blocks: Tensor) -> Tensor:
        """Patches `(B, C, *[patch_size] * D)` of a signal `(C, *S)`, zero beyond its edges."""
        positions = self.positions(blocks)
        if len(positions) == 0:
            return signal.new_empty(0, signal.shape[0], *(self.patch_size for _ in self.sides))
        # Only the rows of patches that the blocks lie in are copied: a level has many chunks.
        first, last = int(positions[:, 0].min()), int(positions[:, 0].max())
        band = signal[:, first * self.patch_size : (last + 1) * self.patch_size]
        positions[:, 0] -= first
        return Grid(tuple(band.shape[1:]), self.patch_size).tiled(band)[tuple(positions.T)]

    def joined(self, tiled: Tensor) -> Tensor:
        """The signal `(C, *S)` of its patches as `tiled` lays them out."""
        n_axes = len(self.sides)
        order = [n_axes] + [k for d in range(n_axes) for k in (d, n_axes + 1 + d)]
        padded = [count * self.patch_size for count in self.counts]
        whole = tiled.permute(order).reshape(tiled.shape[n_axes], *padded)
        return whole[(slice(None), *(slice(side) for side in self.sides))].contiguous()

    def block_means(self, signal: Tensor) -> Tensor:
        """Mean of a signal `(C, *S)` over the real pixels and channels of each block, `(B,)`."""
        blocks = torch.arange(self.n_blocks)
        sums = self.tiled(signal).double().flatten(len(self.sides)).sum(-1).flatten()
        return sums / (self.extents(blocks).prod(-1) * signal.shape[0])

    def tiled(self, signal: Tensor) -> Tensor:
        """A copy of the signal, zero beyond its edges, as `(*counts, C, *[patch_size] * D)`."""
        n_axes = len(self.sides)
        pads = [c * self.patch_size - s for c, s in zip(self.counts, self.sides, strict=True)]
        padded = F.pad(signal, [n for pad in reversed(pads) for n in (0, pad)])
        split = [n for count in self.counts for n in (count, self.patch_size)]
        order = [*range(1, 2 * n_axes, 2), 0, *range(2, 2 * n_axes + 1, 2)]
        return padded.reshape(signal.shape[0], *split).permute(order)


@dataclass(frozen=True)
class Frame:
    """The part of an ancestor's coordinate box that a block sees.

    `generation` g halves the box g times; `offset` says which of the 2^g parts along each axis.
    Generation 0 is the block's own box, [-1, 1] along every axis.
    """

    generation: int
    offset: tuple[int, ...]

    @staticmethod
    def own(n_axes: int) -> "Frame":
        """The frame of a block that started by itself."""
        return Frame(0, (0,) * n_axes)


def coordinates(patch_size: int, extent: tuple[int, ...], frame: Frame) -> Tensor:
    """Pixel centres of a patch, `(D, P)` in [-1, 1], over its real pixels only, row-major.

    Along an axis, pixel i of a block with a frame of its own lies at `(i + 0.5) * 2 / patch_size
    - 1`; in an ancestor's frame the same interval is mapped into the block's part of the box.
    """
    axes = []
    for pixels, offset in zip(extent, frame.offset, strict=True):
        unit = (torch.arange(pixels, dtype=torch.float64) + 0.5) / patch_size
        axes.append(2 * (unit + offset) / 2**frame.generation - 1)
    mesh = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([axis.flatten() for axis in mesh]).float()
