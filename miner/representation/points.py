"""Levels of a representation at points between pixels: blocks, and the pyramid's `interpolate`."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from miner.models.network import select
from miner.representation.rendering import ActiveBlocks, ShardIndex, active_blocks, batch_size
from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid
from miner.signals.regions import Region
from miner.signals.signal import Signal, SourceSignal

_TILE_SIDE = 512  # pixels: bounds the part of the coarser level that is needed at once
_MOST_POINTS = 2**20


def places_of(xy: Tensor, sides: Sequence[int]) -> Tensor:
    """Points `(N, D)` float64 in pixels, rows first, of `xy` `(..., D)`, as `grid_sample` counts.

    Raises `ValueError` for another number of coordinates, or one outside [-1, 1].
    """
    if xy.ndim == 0 or xy.shape[-1] != len(sides):
        names = ", ".join("xyz"[: len(sides)])
        raise ValueError(f"xy of shape {tuple(xy.shape)}: must be (..., {len(sides)}), as {names}")
    inside = xy.detach().abs() <= 1
    if not inside.all():
        remedy = "use xy.clamp(-1, 1) for the nearest edge, at_pixels for pixel numbers"
        raise ValueError(f"xy={xy[~inside][0]:.6g}: must lie in [-1, 1]; {remedy}")
    units = xy.reshape(-1, len(sides)).flip(-1).double()
    return (0.5 * units + 0.5) * torch.tensor(sides).to(xy.device)


def centres(region: Region, sides: Sequence[int], part: Region) -> list[Tensor]:
    """Centres along each axis of pixels in a part of a region that has other sides, float64."""
    return [
        low + (torch.arange(first, end, dtype=torch.float64) + 0.5) * (high - low) / side
        for (low, high), side, (first, end) in zip(region, sides, part, strict=True)
    ]


def pixels_of(index: Tensor, sides: Sequence[int]) -> Tensor:
    """Pixels `(N, D)` int64 of `index` `(..., D)`; an `IndexError` for what is none."""
    is_whole = not (index.is_floating_point() or index.is_complex() or index.dtype == torch.bool)
    if not is_whole or index.ndim == 0 or index.shape[-1] != len(sides):
        found = f"{tuple(index.shape)} {index.dtype}".replace("torch.", "")
        raise IndexError(f"index of {found}: must be whole numbers (..., {len(sides)}), row first")
    pixels = index.reshape(-1, len(sides)).long()
    outside = ((pixels < 0) | (pixels >= torch.tensor(sides).to(index.device))).any(1)
    if outside.any():
        first = tuple(pixels[outside][0].tolist())
        raise IndexError(f"index={first}: must lie in an image of {tuple(sides)}, counted from 0")
    return pixels


def gather(grid: PatchGrid, image: Signal, pixels: Tensor) -> Tensor:
    """Values `(N, C)` of an image at pixels `(N, D)`, of which it reads a tile's at a time."""
    result = torch.empty(len(pixels), image.n_channels, device=pixels.device)
    for members in _Grid(grid).groups(pixels.double()):
        inside = pixels[members]
        first, last = inside.amin(0), inside.amax(0)
        region = tuple(zip(first.tolist(), (last + 1).tolist(), strict=True))
        result[members] = image.read(region)[(slice(None), *(inside - first).T)].T
    return result


def masked_image(spec: Spec, level: int, box: Region, image: Signal) -> Signal:
    """A box of a level that is rendered as an image `(C, *S)`, NaN where there is no data.

    At other sides than the box's, the level's pixel at a centre counts.
    """
    if (mask := spec.masks[level]) is None:
        return image

    def read(part: Region) -> Tensor:
        pixels = (one.long().numpy() for one in centres(box, image.sides, part))
        return _nan_unless(torch.from_numpy(mask.at(np.ix_(*pixels))), image.read(part))

    return SourceSignal(read, image.n_channels, image.sides, image.device)


def masked_points(spec: Spec, values: Tensor, places: Tensor) -> Tensor:
    """Values `(N, C)` at places `(N, D)` in pixels of level 0, NaN in pixels without data."""
    if spec.mask is None:
        return values
    pixels = places.detach().cpu().long().minimum(torch.tensor(spec.sides) - 1)
    return _nan_unless(torch.from_numpy(spec.mask.at(tuple(pixels.T.numpy())))[:, None], values)


def _nan_unless(valid: Tensor, values: Tensor) -> Tensor:
    return torch.where(valid.to(values.device), values, torch.nan)


def evaluate(
    spec: Spec, level: int, blocks: ShardIndex, predict: Callable[[Tensor], Tensor], places: Tensor
) -> Tensor:
    """Values `(N, C)` of a level at `places` `(N, D)` in its pixels.

    The block that owns a point is evaluated there, and merged into what is predicted.
    """
    grid, order, parts = _Grid(spec.grid(level)), list[Tensor](), list[Tensor]()
    result = places.new_zeros(len(places), spec.n_channels, dtype=torch.float32)
    ones = (1,) * places.shape[1]
    for members in grid.groups(places.detach()):
        group = _Group(grid, places.index_select(0, members).T.contiguous())
        found = [
            one
            for active in active_blocks(spec, level, blocks, group.box, places.device)
            for one in group.outputs(active)
        ]
        values = places.new_zeros(len(members), spec.n_channels, dtype=torch.float32)
        due = torch.ones(len(members), dtype=torch.bool, device=places.device)
        for rows, _ in () if spec.pyramid.merges_prediction else found:
            due[rows] = False
        if due.any():
            values[due] = predict(group.places[:, due].T)
        values = values.reshape(*values.shape, *ones)  # pixels of one point each
        for rows, output in found:
            output = output.reshape(*output.shape, *ones)
            values[rows] = spec.pyramid.merge(values[rows], output)
        order.append(members)
        parts.append(values.flatten(1))
    return result.index_copy(0, torch.cat(order), torch.cat(parts)) if order else result


def interpolated(spec: Spec, coarser: Signal | None, places: Tensor) -> Tensor:
    """What the coarser level gives at points `(N, D)` of the finer one, `(N, C)`; else zero."""
    if coarser is None:
        return places.new_zeros(len(places), spec.n_channels, dtype=torch.float32)
    halves, reach = 0.5 * places.T, spec.pyramid.expand_reach
    extent = torch.stack([halves.detach().amin(1), halves.detach().amax(1)]).long().tolist()
    region: Region = tuple(
        (max(0, min(low, side - 1) - reach), min(high + reach + 1, side))
        for low, high, side in zip(*extent, coarser.sides, strict=True)
    )
    corner = torch.tensor([low for low, _ in region]).to(halves.device)[:, None]
    return spec.pyramid.interpolate(coarser.read(region), halves - corner).T


class _Grid:
    """Patches whose numbers are in the order of tiles of `2^bits` patches a side."""

    def __init__(self, grid: PatchGrid) -> None:
        self.size, self._counts = grid.patch_size, grid.counts
        self._bits = max(0, (_TILE_SIDE // self.size).bit_length() - 1)

    def patches(self, places: Tensor) -> Tensor:
        """Patch coordinates `(D, N)` of the owners of points `(D, N)`."""
        last = torch.tensor(self._counts).to(places.device)[:, None] - 1
        return (places / self.size).long().minimum(last)

    def numbers(self, patches: Tensor) -> Tensor:
        """Numbers `(N,)` of patch coordinates `(D, N)`."""
        tile = within = torch.zeros_like(patches[0])
        for position, count in zip(patches, self._counts, strict=True):
            tile = tile * ((count >> self._bits) + 1) + (position >> self._bits)
            within = (within << self._bits) + (position & (2**self._bits - 1))
        return (tile << self._bits * len(patches)) + within

    def groups(self, places: Tensor) -> Iterator[Tensor]:
        """Numbers of the points `(N, D)` of a tile, or of a part of it, sorted by their patches."""
        numbers, order = self.numbers(self.patches(places.T)).sort(stable=True)
        tiles = numbers >> self._bits * places.shape[1]
        counts = tiles.unique_consecutive(return_counts=True)[1].tolist()
        for members in order.split(counts) if len(places) else ():
            yield from members.split(_MOST_POINTS)


class _Group:
    """Points `places` `(D, N)` that are sorted by the blocks that own them."""

    def __init__(self, grid: _Grid, places: Tensor) -> None:
        self.places, self._grid, patches = places, grid, grid.patches(places.detach())
        ends = patches.amin(1).tolist(), (patches.amax(1) + 1).tolist()
        self.box: Region = tuple(zip(*ends, strict=True))
        owners, counts = grid.numbers(patches).unique_consecutive(return_counts=True)
        self._owners, self._counts = owners.cpu(), counts.cpu()
        self._starts = self._counts.cumsum(0) - self._counts

    def outputs(self, active: ActiveBlocks) -> Iterator[tuple[Tensor, Tensor]]:
        """Numbers of points `(M,)` and what the networks of their owners give there, `(M, K)`."""
        generation, *offsets = active.frame
        network, device = active.network, self.places.device
        for owners, index, counted in self._rows(active):
            corners = (active.positions[owners] - torch.tensor(offsets)).T[:, :, None].to(device)
            units = self.places[:, index] / self._grid.size - corners
            inputs = (2 * units / 2**generation - 1).float().flatten(1)
            encoded = network.model.encode(inputs).unflatten(1, index.shape).transpose(0, 1)
            own = select(active.parameters, active.members[owners].to(device))
            values = network.outputs(own, encoded)
            yield index[counted], values.transpose(1, 2)[counted]

    def _rows(self, active: ActiveBlocks) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Some of the blocks `(B,)`, numbers of their points `(B, P)`, and which of those count."""
        numbers, device = self._grid.numbers(active.positions.T), self.places.device
        at = torch.searchsorted(self._owners, numbers).clamp(max=len(self._owners) - 1)
        blocks = torch.nonzero(self._owners[at] == numbers).flatten()
        blocks = blocks[self._counts[at[blocks]].argsort()]  # so that little is computed in vain
        counts, starts = self._counts[at[blocks]], self._starts[at[blocks]]
        batches = counts.cumsum(0) // batch_size(1, device)
        sizes = batches.unique_consecutive(return_counts=True)[1].tolist()
        for rows in torch.arange(len(blocks)).split(sizes) if len(blocks) else ():
            n_points = counts[rows].to(device)[:, None]
            columns = torch.arange(int(counts[rows].max()), device=device)
            index = starts[rows].to(device)[:, None] + columns.minimum(n_points - 1)
            yield blocks[rows], index, columns < n_points
