"""Cut a signal into patches, put patches back, and the coordinates inside a patch.

Axis letters of the whole package: `B` blocks, `P` pixels of a block, `D` coordinate axes,
`E` encoded coordinates, `H` hidden features, `C` channels, `S` spatial sides.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from miner.signals.regions import TILE_SIDE, Region, tiles


@dataclass(frozen=True)
class PatchGrid:
    """The patches of `patch_size` pixels a side that cover a signal, numbered row by row.

    Block numbers and positions are in the host's memory, signals and patches on any device.
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
        along_axes = np.unravel_index(blocks.numpy(), self.counts)  # torch's would import SymPy
        return torch.from_numpy(np.stack(along_axes, axis=-1))

    def numbers(self, positions: Tensor) -> Tensor:
        """Block numbers `(B,)` of patch coordinates `(B, D)`."""
        return torch.from_numpy(np.ravel_multi_index(tuple(positions.T.numpy()), self.counts))

    def morton_order(self, blocks: Tensor) -> Tensor:
        """Blocks `(B,)` in Z-order (Morton 1966): neighbours in it are close in space."""
        positions, n_axes = self.positions(blocks), len(self.sides)
        key = torch.zeros_like(blocks)
        for bit in range(max(self.counts).bit_length()):
            for axis in range(n_axes):
                key |= ((positions[:, axis] >> bit) & 1) << (n_axes * bit + n_axes - 1 - axis)
        return blocks[key.argsort()]

    def tiles(self, tile_side: int = TILE_SIDE) -> Iterator[Region]:
        """Boxes of whole patches that cover the signal, of about `tile_side`^2 pixels each."""
        side = round(tile_side ** (2 / len(self.sides)))
        return tiles(self.sides, max(1, side // self.patch_size) * self.patch_size)

    def blocks_in(self, region: Region) -> Tensor:
        """Numbers of the patches that a box of whole patches holds, row-major, `(B,)`."""
        size = self.patch_size
        axes = [torch.arange(low // size, -(-high // size)) for low, high in region]
        return self.numbers(torch.cartesian_prod(*axes).reshape(-1, len(axes)))

    def around(self, region: Region) -> Region:
        """The smallest box of whole patches that holds a region."""
        size = self.patch_size
        return tuple(
            (low // size * size, min(-(-high // size) * size, side))
            for (low, high), side in zip(region, self.sides, strict=True)
        )

    def valid_sizes(self, blocks: Tensor) -> Tensor:
        """Real pixels along each axis, `(B, D)`, between 1 and `patch_size`."""
        left = torch.tensor(self.sides) - self.positions(blocks) * self.patch_size
        return left.clamp(max=self.patch_size)

    def cut(
        self, signal: Tensor, blocks: Tensor, ring: int = 0, before: Sequence[int] = ()
    ) -> Tensor:
        """Patches `(B, C, *[patch_size] * D)` of a signal `(C, *S)`, whose edge goes on beyond it.

        They have `ring` pixels more at every side; the signal has some `before` the first patch's.
        """
        before = before or [0] * len(self.sides)
        for axis, (count, first) in enumerate(zip(self.counts, before, strict=True), start=1):
            index = torch.arange(-ring, count * self.patch_size + ring) + first
            index = index.clamp(0, signal.shape[axis] - 1).to(signal.device)
            signal = signal.index_select(axis, index)
        for axis in range(1, signal.ndim):
            signal = signal.unfold(axis, self.patch_size + 2 * ring, self.patch_size)
        tiled = signal.movedim(0, len(self.sides))
        return tiled[tuple(self.positions(blocks).T.to(signal.device))]

    def tiled(self, signal: Tensor) -> Tensor:
        """A copy of the signal, zero beyond its edges, as `(*counts, C, *[patch_size] * D)`."""
        pads = [-side % self.patch_size for side in self.sides]
        tiled = F.pad(signal, [n for pad in reversed(pads) for n in (0, pad)])
        for axis in range(1, signal.ndim):
            tiled = tiled.unfold(axis, self.patch_size, self.patch_size)
        return tiled.movedim(0, len(self.sides))

    def joined(self, tiled: Tensor) -> Tensor:
        """The signal `(C, *S)` of its patches as `tiled` lays them out."""
        n_axes = len(self.sides)
        order = [n_axes] + [k for d in range(n_axes) for k in (d, n_axes + 1 + d)]
        padded = [count * self.patch_size for count in self.counts]
        whole = tiled.permute(order).reshape(tiled.shape[n_axes], *padded)
        return whole[(slice(None), *(slice(side) for side in self.sides))].contiguous()

    def block_means(self, signal: Tensor) -> Tensor:
        """Mean of a signal `(C, *S)` over the real pixels and channels of each block, `(B,)`."""
        sums = self.tiled(signal).double().flatten(len(self.sides)).sum(-1).flatten()
        n_values = self.valid_sizes(torch.arange(self.n_blocks)).prod(-1) * signal.shape[0]
        return sums / n_values.to(signal.device)


def coordinates(
    patch_size: int,
    valid_size: Sequence[int],
    frame: Sequence[int] | None = None,
    step: int = 1,
    ring: int = 0,
) -> Tensor:
    """Centres of the real pixels of a patch, `(D, P)` in [-1, 1], row-major.

    `frame` is (g, *offset) for a patch in the coordinates of an ancestor, whose box is halved g
    times along each axis; None is the patch's box alone. Along an axis of that, pixel i is at
    `(i + 0.5) * 2 / patch_size - 1`. With a `step`, boxes of so many pixels a side have one centre,
    `ceil(valid_size / step)` along an axis.
    """
    generation, *offsets = frame or (0,) * (1 + len(valid_size))
    axes = []
    for pixels, offset in zip(valid_size, offsets, strict=True):
        pixel = torch.arange(-ring, pixels + ring, step, dtype=torch.float64)
        unit = (pixel + 0.5 * step) / patch_size
        axes.append(2 * (unit + offset) / 2**generation - 1)
    mesh = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([axis.flatten() for axis in mesh]).float()
