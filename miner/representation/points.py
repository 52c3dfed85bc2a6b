"""Levels of a representation at points between pixels: blocks, and the pyramid's `interpolate`."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from miner.models.network import select
from miner.representation.rendering import ShardIndex, active_blocks, batch_size
from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid
from miner.signals.mask import Valid
from miner.signals.regions import Region
from miner.signals.signal import Signal, SourceSignal

_TILE_SIDE = 512  # pixels: bounds the part of a level that is needed at once
_MOST_POINTS = 2**20
ValidIn = Callable[[Region], Valid]
"""Gives which pixels of a part of what is rendered are data."""


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


def gather(image: Signal, pixels: Tensor) -> Tensor:
    """Values `(N, C)` of an image at pixels `(N, D)`, of which it reads a tile's at a time."""
    result = torch.empty(len(pixels), image.n_channels, device=pixels.device)
    for members in _groups(PatchGrid(image.sides, 1), pixels):
        values, inside = _read(image, pixels[members])
        result[members] = values[(slice(None), *inside.T)].T
    return result


def valid_pixels(spec: Spec, level: int, box: Region, sides: tuple[int, ...]) -> ValidIn | None:
    """Of a box of a level at other sides: whether the level's pixel at a centre is data."""
    if (mask := spec.masks[level]) is None:
        return None
    return lambda part: mask.at(np.ix_(*(one.long().numpy() for one in centres(box, sides, part))))


def masked_image(image: Signal, valid: ValidIn | None) -> Signal:
    """An image `(C, *S)` with NaN where there is no data."""
    if valid is None:
        return image

    def read(part: Region) -> Tensor:
        return _nan_unless(torch.from_numpy(valid(part)), image.read(part))

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
    spec: Spec, level: int, shards: ShardIndex, predict: Callable[[Tensor], Tensor], places: Tensor
) -> Tensor:
    """Values `(N, C)` of a level at `places` `(N, D)` in its pixels.

    The block that owns a point is evaluated there, and merged into what is predicted.
    """
    order, parts = list[Tensor](), list[Tensor]()
    for members in _groups(spec.grid(level), places):
        order.append(members)
        parts.append(_evaluate_group(spec, level, shards, predict, places[members]))
    result = places.new_zeros(len(places), spec.n_channels, dtype=torch.float32)
    return result.index_copy(0, torch.cat(order), torch.cat(parts)) if parts else result


def _evaluate_group(
    spec: Spec, level: int, shards: ShardIndex, predict: Callable[[Tensor], Tensor], places: Tensor
) -> Tensor:
    values = places.new_zeros(len(places), spec.n_channels, dtype=torch.float32)
    found = list(_outputs(spec, level, shards, places))
    rows = torch.cat([torch.arange(0, device=places.device), *(rows for rows, _ in found)])
    due = torch.ones(len(places), dtype=torch.bool, device=places.device)
    due[rows] = spec.pyramid.merges_prediction
    if due.any():
        values[due] = predict(places[due])
    if found:
        shape = len(rows), -1, *(1,) * places.shape[1]  # pixels of one point each
        outputs = torch.cat([one for _, one in found]).reshape(shape)
        values[rows] = spec.pyramid.merge(values[rows].reshape(shape), outputs).flatten(1)
    return values


def interpolated(spec: Spec, coarser: Signal | None, places: Tensor) -> Tensor:
    """What the coarser level gives at points `(N, D)` of the finer one, `(N, C)`; else zero."""
    if coarser is None:
        return places.new_zeros(len(places), spec.n_channels, dtype=torch.float32)
    around, inside = _read(coarser, 0.5 * places, spec.pyramid.expand_reach)
    return spec.pyramid.interpolate(around, inside.T).T


def _owners(grid: PatchGrid, places: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of the patches that own points `(N, D)`, ascending, and the points in this order."""
    patches = places.detach() / grid.patch_size
    last = torch.tensor(grid.counts).to(places.device) - 1
    steps = [math.prod(grid.counts[axis + 1 :]) for axis in range(len(grid.counts))]
    numbers = patches.long().minimum(last) * torch.tensor(steps).to(places.device)
    ordered = numbers.sum(-1).sort(stable=True)
    return ordered.values, ordered.indices


def _groups(grid: PatchGrid, places: Tensor) -> Iterator[Tensor]:
    """Numbers of the points `(N, D)` in each tile of whole patches, or in a part of it."""
    side = max(1, _TILE_SIDE // grid.patch_size) * grid.patch_size
    tiles, order = _owners(PatchGrid(grid.sides, side), places)
    counts = tiles.unique_consecutive(return_counts=True)[1].tolist()
    for members in order.split(counts) if counts else ():
        yield from members.split(_MOST_POINTS)


def _read(signal: Signal, places: Tensor, reach: int = 0) -> tuple[Tensor, Tensor]:
    """Values in the box of points that `reach` extends, and the points `(N, D)` in it."""
    extent = torch.stack([places.detach().amin(0), places.detach().amax(0)]).long().tolist()
    region: Region = tuple(
        (max(0, min(low, side - 1) - reach), min(high + reach + 1, side))
        for low, high, side in zip(*extent, signal.sides, strict=True)
    )
    corner = torch.tensor([low for low, _ in region]).to(places.device)
    return signal.read(region), places - corner


def _outputs(
    spec: Spec, level: int, shards: ShardIndex, places: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Numbers of points `(M,)` and what the networks of their owners give there, `(M, K)`."""
    grid, device = spec.grid(level), places.device
    numbers, order = _owners(grid, places)
    owners, counts = (one.cpu() for one in numbers.unique_consecutive(return_counts=True))
    starts = counts.cumsum(0) - counts
    positions = grid.positions(owners)
    box = tuple(zip(positions.amin(0).tolist(), (positions.amax(0) + 1).tolist(), strict=True))
    for active in active_blocks(spec, level, shards, box, device):
        generation, *offsets = active.frame
        at = torch.searchsorted(owners, own := grid.numbers(active.positions))
        blocks = torch.nonzero(owners[at.clamp(max=len(owners) - 1)] == own).flatten()
        blocks = blocks[counts[at[blocks]].argsort()]  # so that little is computed in vain
        batches = counts[at[blocks]].cumsum(0) // batch_size(1, device)
        sizes = batches.unique_consecutive(return_counts=True)[1].tolist()
        for rows in blocks.split(sizes) if sizes else ():
            n_points = counts[at[rows]].to(device)[:, None]
            columns = torch.arange(int(n_points.max()), device=device)
            index = order[starts[at[rows]].to(device)[:, None] + columns.minimum(n_points - 1)]
            corners = (active.positions[rows] - torch.tensor(offsets)).to(device)[:, None]
            units = places[index] / grid.patch_size - corners
            inputs = (2 * units / 2**generation - 1).float().flatten(0, 1).T
            encoded = active.network.model.encode(inputs).unflatten(1, index.shape).transpose(0, 1)
            own_parameters = select(active.parameters, active.members[rows].to(device))
            values = active.network.outputs(own_parameters, encoded)
            counted = columns < n_points
            yield index[counted], values.transpose(1, 2)[counted]
