"""Which shards of a level have blocks in a box: a level of a large image has hundreds."""

from collections.abc import Sequence

import torch

from miner.pyramid import Grid
from miner.representation.shard import Shard


class ShardIndex:
    """The shards of a level, found by where their blocks lie."""

    def __init__(self, grid: Grid, shards: Sequence[Shard]) -> None:
        """Take the level's patches and all of its shards."""
        self._shards = [shard for shard in shards if len(shard.blocks)]
        places = [grid.positions(shard.blocks) for shard in self._shards]
        none = torch.empty(0, len(grid.sides), dtype=torch.long)
        self._first = torch.stack([p.amin(0) for p in places]) if places else none
        self._last = torch.stack([p.amax(0) for p in places]) if places else none

    def near(self, first: Sequence[int], end: Sequence[int]) -> list[Shard]:
        """Shards that may have blocks in a box of patch coordinates, ends exclusive."""
        begins_before = (self._first < torch.tensor(end)).all(-1)
        ends_after = (self._last >= torch.tensor(first)).all(-1)
        return [self._shards[n] for n in torch.nonzero(begins_before & ends_after).flatten()]
