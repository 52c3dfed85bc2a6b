"""Levels of a representation at points between pixels: blocks, and the pyramid's `interpolate`."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from miner.models.network import select
from miner.representation.rendering import (
    ActiveBlocks,
    ShardIndex,
    active_blocks,
    batch_size,
    merge,
)
from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid
from miner.signals.regions import Region
from miner.signals.signal import Signal

_TILE_SIDE = 512  # pixels: bounds the part of the coarser level that is needed at once
_MOST_POINTS = 2**20


def places_of(xy: Tensor, sides: Sequence[int]) -> Tensor:
    """Points `(D, N)` float64 in pixels, rows first, of `xy` `(..., D)`, as `grid_sample` counts.

    Raises `ValueError` for another number of coordinates, or one outside [-1, 1].
    """
    if xy.ndim == 0 or xy.shape[-1] != len(sides):
        names = ", ".join("xyz"[: len(sides)])
        raise ValueError(f"xy of shape {tuple(xy.shape)}: must be (..., {len(sides)}), as {names}")
    outside = xy.detach()[~(xy.detach().abs() <= 1)]
    if len(outside):
        remedy = "use xy.clamp(-1, 1) to get the nearest edge"
        raise ValueError(f"xy={outside[0]:.6g}: must lie in [-1, 1]; {remedy}")
    units = 0.5 * (xy.double().flatten(0, -2).T.flip(0) + 1)
    return units * units.new_tensor(sides)[:, None]


def groups(pixels: Tensor, sides: Sequence[int], patch_size: int) -> Iterator[Tensor]:
    """Numbers of the points in pixels `(D, N)`: those of a tile, or of a part of one, at a time.

    Points of one patch are next to each other.
    """
    tile = max(1, _TILE_SIDE // patch_size)
    patches = pixels // patch_size
    tiles, key = patches // tile, torch.zeros_like(patches[0])
    for numbers, n_pixels in ((tiles, tile * patch_size), (patches - tiles * tile, 0)):
        for number, side in zip(numbers, sides, strict=True):
            key = key * (-(-side // n_pixels) if n_pixels else tile) + number
    order = key.argsort()
    _, counts = (key[order] // tile ** len(sides)).unique_consecutive(return_counts=True)
    for members in order.split(counts.tolist()):
        yield from members.split(_MOST_POINTS)


class _OwnedPoints:
    """Points `units` `(D, N)` of a group, in patches, as `groups` sorts them, and their owners."""

    def __init__(self, grid: PatchGrid, units: Tensor, patches: Tensor) -> None:
        self.units, self._grid, numbers = units, grid, torch.zeros_like(patches[0])
        for position, count in zip(patches, grid.counts, strict=True):
            numbers = numbers * count + position
        blocks, counts = numbers.unique_consecutive(return_counts=True)
        self._blocks, self._counts = blocks.cpu(), counts.cpu()
        self._starts = self._counts.cumsum(0) - self._counts
        corners = zip(patches.amin(1).tolist(), (patches.amax(1) + 1).tolist(), strict=True)
        self.box: Region = tuple(corners)

    def rows(self, active: ActiveBlocks) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Some of the blocks `(B,)`, numbers of their points `(B, P)`, and which of those count."""
        device, numbers = self.units.device, self._grid.numbers(active.positions)
        at = torch.searchsorted(self._blocks, numbers).clamp(max=len(self._blocks) - 1)
        owners = torch.nonzero(self._blocks[at] == numbers).flatten()
        owners = owners[self._counts[at[owners]].argsort()]  # so that little is computed in vain
        counts, starts = self._counts[at[owners]], self._starts[at[owners]]
        _, sizes = (counts.cumsum(0) // batch_size(1, device)).unique_consecutive(
            return_counts=True
        )
        for batch in torch.arange(len(owners)).split(sizes.tolist()):
            n_points = counts[batch].to(device)[:, None]
            columns = torch.arange(int(n_points.max()), device=device)
            index = starts[batch].to(device)[:, None] + columns.minimum(n_points - 1)
            yield owners[batch], index, columns < n_points

    def outputs(self, active: ActiveBlocks) -> Iterator[tuple[Tensor, Tensor]]:
        """Numbers of points `(M,)` and what the networks of their owners give there, `(M, K)`."""
        generation, *offsets = active.frame
        model, device = active.network.model, self.units.device
        for owners, index, counted in self.rows(active):
            corner = active.positions[owners] - torch.tensor(offsets)
            units = self.units[:, index] - corner.T[:, :, None].to(self.units)
            inputs = (2 * units / 2**generation - 1).float()
            encoded = model.encode(inputs.flatten(1)).unflatten(1, index.shape).transpose(0, 1)
            own = select(active.parameters, active.members[owners].to(device))
            values = active.network.outputs_at(own, encoded)
            yield index[counted], values.transpose(1, 2)[counted]


def evaluate(
    spec: Spec, level: int, blocks: ShardIndex, coarser: Signal | None, places: Tensor
) -> Tensor:
    """Values `(N, C)` of a level at `places` `(D, N)` in its pixels; `coarser` is the next level.

    The block that owns a point is evaluated there, and merged into what `interpolate` gives. Where
    a sample stands for several pixels (`step`), the pixel that holds the point is computed.
    """
    limits = torch.tensor(spec.level_sides[level], device=places.device)[:, None] - 1
    pixels = places.detach().long().minimum(limits)
    order, values = [], [places.new_zeros(0, spec.n_channels, dtype=torch.float32)]
    for members in groups(pixels, spec.level_sides[level], spec.patch_size):
        order.append(members)
        group = places[:, members], pixels[:, members]
        values.append(_evaluate(spec, level, blocks, coarser, *group))
    return torch.cat(values)[torch.cat(order).argsort()] if order else values[0]


def _evaluate(
    spec: Spec,
    level: int,
    blocks: ShardIndex,
    coarser: Signal | None,
    places: Tensor,
    pixels: Tensor,
) -> Tensor:
    """Those of a group of points, each with all pixels of its sample on the way."""
    (n_axes, n_points), step = places.shape, spec.pyramid.step
    within = pixels % spec.patch_size % step
    first, cells = pixels - within, places[:, :, None]
    if step > 1:
        places = first + 0.5 * step
        offsets = torch.cartesian_prod(*[torch.arange(step)] * n_axes).T.to(places)
        cells = first[:, :, None] + offsets[:, None] + 0.5
    predicted = _predicted(spec, coarser, cells.double().flatten(1))
    values = predicted.T.reshape(n_points, -1, spec.n_channels).transpose(1, 2)
    values = values.reshape(n_points, -1, *[step] * n_axes)
    patches = pixels // spec.patch_size
    owned = _OwnedPoints(spec.grid(level), places / spec.patch_size, patches)
    for active in active_blocks(spec, level, blocks, owned.box, places.device):
        for rows, output in owned.outputs(active):
            output = output.reshape(*output.shape, *[1] * n_axes)
            values[rows] = merge(spec.pyramid, values[rows], output)
    return values[(torch.arange(n_points, device=places.device), slice(None), *within)]


def _predicted(spec: Spec, coarser: Signal | None, cells: Tensor) -> Tensor:
    """What a coarser level gives at points `(D, N)` of the finer one, `(C, N)`; else zero."""
    if coarser is None:
        return cells.new_zeros(spec.n_channels, cells.shape[1], dtype=torch.float32)
    halves, reach = 0.5 * cells, spec.pyramid.expand_reach
    above = halves.detach().floor().long()
    region = tuple(
        (max(0, min(low, side - 1) - reach), min(high + reach + 1, side))
        for low, high, side in zip(
            *torch.stack([above.amin(1), above.amax(1)]).tolist(), coarser.sides, strict=True
        )
    )
    corner = halves.new_tensor([low for low, _ in region])[:, None]
    return spec.pyramid.interpolate(coarser.read(region), halves - corner)
