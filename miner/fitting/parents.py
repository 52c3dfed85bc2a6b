"""The coarser blocks from which the blocks of a level may start."""

from collections.abc import Sequence

import torch
from torch import Tensor

from miner.fitting.weights import Parents
from miner.models.parameters import concatenate, select
from miner.representation.shard import Shard
from miner.representation.spec import Spec


def find_parents(
    spec: Spec, level: int, width: int, blocks: Tensor, coarser_shards: Sequence[Shard]
) -> Parents:
    """The stored parents of blocks `(B,)` of one width; none at the coarsest or of another shape.

    The parent of the block at position q is the coarser block at q // 2.
    """
    positions = spec.grid(level).positions(blocks)
    groups = [
        (shard.blocks[members], shard.frames[members], stored)
        for shard in coarser_shards
        for found, members, stored in shard.groups()
        if found == width
    ]
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
    decoded = spec.storage.decode(select(concatenate([stored for _, _, stored in groups]), row))
    return Parents(
        exists=known[row] == wanted,
        hidden={name: decoded[name] for name in spec.model(level, width).mlp.shapes()},
        frames=frames[row],
        parity=positions % 2,
    )
