"""The coarser blocks from which the blocks of a level may start."""

from collections.abc import Iterator

import torch
from torch import Tensor

from miner.fitting.weights import Parents
from miner.models.parameters import Parameters, concatenate, moved, select
from miner.representation.index import ShardIndex
from miner.representation.spec import Spec


def find_parents(
    spec: Spec,
    level: int,
    width: int,
    blocks: Tensor,
    coarser: ShardIndex,
    device: torch.device,
) -> Parents:
    """The stored parents of blocks `(B,)` of one width; none at the coarsest or of another shape.

    The parent of the block at position q is the coarser block at q // 2. Only shards that hold
    parents are read. Their numbers are decoded on the device.
    """
    positions = spec.grid(level).positions(blocks)
    groups = list(_groups(spec, level, width, positions // 2, coarser))
    if not groups:
        return Parents(
            exists=torch.zeros(len(blocks), dtype=torch.bool),
            hidden={},
            frames=torch.zeros(len(blocks), 1 + len(spec.sides), dtype=torch.long),
            parity=positions % 2,
        )
    wanted = spec.grid(level + 1).numbers(positions // 2)
    known, frames = (torch.cat(parts) for parts in list(zip(*groups, strict=True))[:2])
    order = known.argsort()
    place = torch.searchsorted(known[order], wanted).clamp(max=len(known) - 1)
    row = order[place]
    stored = select(concatenate([stored for _, _, stored in groups]), row)
    decoded = spec.storage.decode(moved(stored, device))
    return Parents(
        exists=known[row] == wanted,
        hidden={name: decoded[name] for name in spec.model(level, width).mlp.shapes()},
        frames=frames[row],
        parity=positions % 2,
    )


def _groups(
    spec: Spec, level: int, width: int, places: Tensor, coarser: ShardIndex
) -> Iterator[tuple[Tensor, Tensor, Parameters]]:
    """Numbers, frames and stored tensors of the parents in each shard; `places` `(B, D)`."""
    if spec.is_coarsest(level):
        return
    wanted = spec.grid(level + 1).numbers(places)
    for shard in coarser.near(places.amin(0).tolist(), (places.amax(0) + 1).tolist()):
        is_parent = torch.isin(shard.blocks, wanted) & (shard.widths == width)
        if is_parent.any():
            kept = is_parent[shard.widths == width]
            stored = select(shard.stored[width], kept)
            yield shard.blocks[is_parent], shard.frames[is_parent], stored
