"""Shards in a folder, and which blocks they hold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from miner.models.parameters import Parameters
from miner.representation.shard import Shard, ShardFile, read_shard, write_shard
from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid
from miner.support.errors import RepresentationError

_KEPT = 8  # shards in memory; neighbouring blocks lie in few of them


class ShardFolder:
    """Reads and writes the shards of one representation."""

    def __init__(self, folder: Path, spec: Spec) -> None:
        """Take the folder that holds the files."""
        self.folder, self.spec = folder, spec
        self._stored = lru_cache(_KEPT)(self._read_stored)

    def open(self, name: str) -> ShardFile:
        """Check a shard; of its numbers none stays in memory.

        Raises:
            RepresentationError: it is missing, damaged, or not of this representation.
        """
        if Path(name).name != name or name in ("", "..", "."):
            raise RepresentationError(f"{self.folder}: shard {name!r} lies outside the folder")
        return self.refer(read_shard(self.folder / name, self.spec))

    def write(self, shard: Shard, basis: str) -> ShardFile:
        """Write a shard whole or not at all; what is given reads its numbers from the file.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        return self.refer(write_shard(self.folder, shard, basis))

    def refer(self, found: ShardFile) -> ShardFile:
        """A shard whose numbers are read from its file when they are needed, and checked then."""
        shard = found.shard
        frames = shard.frames
        if len(frames) and not frames.any():  # as nearly always: one row for all blocks
            frames = torch.zeros(1, frames.shape[1], dtype=frames.dtype).expand_as(frames)
        stored = _FiledParameters(self, shard.file_name, found.sha256)
        return found._replace(shard=replace(shard, frames=frames, stored=stored))

    def stored(self, name: str, sha256: str) -> Mapping[int, Parameters]:
        """The numbers of a shard that was opened or written before."""
        return self._stored(name, sha256)

    def _read_stored(self, name: str, sha256: str) -> Mapping[int, Parameters]:
        found = read_shard(self.folder / name, self.spec)
        if found.sha256 != sha256:
            raise RepresentationError(f"{self.folder / name}: was changed while it was in use")
        return found.shard.stored


def header_of(file: ShardFile) -> ShardFile:
    """A shard without its numbers, to be sent to a process that will `refer` to its file."""
    return file._replace(shard=replace(file.shard, stored={}))


class _FiledParameters(Mapping[int, Parameters]):
    """`Shard.stored`, read from the file at each use unless it is among the last few."""

    def __init__(self, folder: ShardFolder, name: str, sha256: str) -> None:
        self._folder, self._name, self._sha256 = folder, name, sha256

    def __getitem__(self, width: int) -> Parameters:
        return self._folder.stored(self._name, self._sha256)[width]

    def __iter__(self) -> Iterator[int]:
        return iter(self._folder.stored(self._name, self._sha256))

    def __len__(self) -> int:
        return len(self._folder.stored(self._name, self._sha256))


class ShardIndex:
    """The shards of a level, found by where their blocks lie."""

    def __init__(self, grid: PatchGrid, shards: Sequence[Shard]) -> None:
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
