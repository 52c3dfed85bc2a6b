"""Render a level from stored blocks and the reconstruction of the next coarser level."""

from collections.abc import Callable, Iterator, Sequence
from operator import index

import torch
from torch import Tensor

from miner.models.network import BlockNetwork, Parameters, moved, select
from miner.representation.shard import Shard
from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid, coordinates
from miner.signals.regions import Region, sides_of
from miner.signals.signal import Signal

_BATCH_PIXELS = 2**18
_DEVICE_BATCH_PIXELS = 2**20  # fewer leave a GPU idle

Outputs = Callable[[BlockNetwork, Parameters, Tensor], Tensor]
"""Gives values `(B, C, P)` of a network's decoded blocks at encoded coordinates `(E, P)`."""


def check_region(region: Region, sides: tuple[int, ...]) -> None:
    """Raise `ValueError` for what is not a box of whole pixels inside a level."""
    try:
        inside = len(region) == len(sides) and all(
            0 <= index(low) < index(high) <= side
            for (low, high), side in zip(region, sides, strict=True)
        )
    except (TypeError, ValueError):
        inside = False
    if not inside:
        raise ValueError(f"region={region}: must lie within {sides}, as (first, end) pairs")


class ShardIndex:
    """All shards of a level, found by the positions of their blocks."""

    def __init__(self, grid: PatchGrid, shards: Sequence[Shard]) -> None:
        self._shards = [shard for shard in shards if len(shard.blocks)]
        positions, n_axes = [grid.positions(s.blocks) for s in self._shards], len(grid.sides)
        self._first = torch.tensor([p.amin(0).tolist() for p in positions]).reshape(-1, n_axes)
        self._last = torch.tensor([p.amax(0).tolist() for p in positions]).reshape(-1, n_axes)

    def near(self, first: Sequence[int] | Tensor, end: Sequence[int] | Tensor) -> list[Shard]:
        """Shards that may have blocks in a box of patch coordinates, ends exclusive."""
        begins_before = (self._first < torch.as_tensor(end)).all(-1)
        ends_after = (self._last >= torch.as_tensor(first)).all(-1)
        return [self._shards[n] for n in torch.nonzero(begins_before & ends_after).flatten()]


def by_row(rows: Tensor) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """The distinct rows of `(B, N)`, ascending, and the numbers of the blocks that have each."""
    if len(rows) and bool((rows == rows[0]).all()):  # as nearly always; sorting takes longer
        yield tuple(rows[0].tolist()), torch.arange(len(rows))
        return
    distinct, membership = torch.unique(rows, dim=0, return_inverse=True)
    for number, row in enumerate(distinct.tolist()):
        yield tuple(row), torch.nonzero(membership == number).flatten()


@torch.no_grad()
def render_level(
    spec: Spec,
    level: int,
    shards: ShardIndex,
    prediction: Signal,
    region: Region,
    outputs: Outputs = BlockNetwork.outputs,
) -> Tensor:
    """Merge a level's active blocks into its prediction in a box of whole patches, `(C, *box)`."""
    box, device = PatchGrid(sides_of(region), spec.patch_size), prediction.device
    sides = (spec.patch_size,) * len(spec.sides)
    corner = torch.tensor([low for low, _ in region]) // spec.patch_size
    tiled = box.tiled(prediction.read(region))
    batch_pixels = _BATCH_PIXELS if device.type == "cpu" else _DEVICE_BATCH_PIXELS
    for shard in shards.near(corner, corner + torch.tensor(box.counts)):
        positions = spec.grid(level).positions(shard.blocks) - corner
        inside = ((positions >= 0) & (positions < torch.tensor(box.counts))).all(-1)
        if not inside.any():
            continue
        for width, stored in shard.stored.items():
            has_width = shard.widths == width
            rows = torch.nonzero(inside & has_width).flatten()
            parameters = spec.storage.decode(moved(select(stored, inside[has_width]), device))
            model = spec.model(level, width)
            for frame, members in by_row(shard.frames[rows]):
                encoded = model.mlp.encoding(coordinates(spec.patch_size, sides, frame)).to(device)
                for batch in members.split(max(1, batch_pixels // encoded.shape[1])):
                    values = outputs(model, select(parameters, batch.to(device)), encoded)
                    tiles = tuple(positions[rows[batch]].T.to(device))
                    tiled[tiles] = spec.pyramid.merge(tiled[tiles], values.unflatten(-1, sides))
    return box.joined(tiled)
