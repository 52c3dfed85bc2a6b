"""Folders of shards that are loaded, and what a fit writes to, in memory or a folder."""

import hashlib
import itertools
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from miner.models.network import Parameters
from miner.representation.files import read_mask, read_overview, write_mask, write_overview
from miner.representation.representation import Representation
from miner.representation.shard import FileParameters, Shard, read_shard, shard_name, write_shard
from miner.representation.spec import MANIFEST, OVERVIEW, Manifest, Spec
from miner.signals.signal import Signal
from miner.support.communication import SINGLE_PROCESS, Communicator
from miner.support.errors import ConfigError, RepresentationError
from miner.support.files import wait_for_file
from miner.support.run_files import read_report

REPRESENTATION_FOLDER = "representation"  # in the folder of the run that makes it
_LOG = logging.getLogger("miner")


def load(path: str | Path) -> Representation:
    """Load a representation from its folder, or from the folder of the run that made it.

    Parameters stay on the disk until they are rendered. `report` is the saved one or, if it can be
    read, the run's. Raises `RepresentationError` if a file is missing, damaged or foreign.
    """
    folder = run = Path(path)
    inner = folder / REPRESENTATION_FOLDER
    if (inner / MANIFEST).exists() and not (folder / MANIFEST).exists():
        folder = inner
    elif folder.name == REPRESENTATION_FOLDER:
        run = folder.parent
    manifest, report = Manifest.read(folder), None
    with suppress(ValueError):  # that of another version, say
        report = manifest.fit["report"] if "report" in manifest.fit else read_report(run)
    spec = replace(manifest.spec, mask=read_mask(folder, manifest))
    files = ShardFolder(folder, spec)
    shards = {level: files.open_level(level, names) for level, names in manifest.levels.items()}
    return Representation(spec, shards, report, manifest.fit, read_overview(folder, manifest))


class ShardFolder:
    """Opens the shards of one representation, whose parameters are read when they are needed."""

    def __init__(self, folder: Path, spec: Spec) -> None:
        self.folder, self._spec = folder, spec
        self._stored = lru_cache(maxsize=8)(self._read)  # neighbours are stored in few shards

    def open(self, name: str) -> Shard:
        """Check a shard; raises `RepresentationError` as `read_shard` does."""
        if Path(name).name != name or name in ("", "..", "."):
            raise RepresentationError(f"{self.folder}: shard {name!r} is outside the folder")
        return self.refer(read_shard(self.folder / name, self._spec))

    def open_level(self, level: int, checksums: Mapping[str, str]) -> list[Shard]:
        """Check the shards of a level, which the manifest lists with their checksums."""
        shards = [self.open(name) for name in checksums]
        for shard, (name, sha256) in zip(shards, checksums.items(), strict=True):
            if (shard.level, shard.file_name, shard.sha256) != (level, name, sha256):
                path = self.folder / name
                raise RepresentationError(f"{path}: not the shard that the manifest names")
        blocks = torch.cat([torch.empty(0), *(shard.blocks for shard in shards)])
        if len(blocks.unique()) != len(blocks):
            raise RepresentationError(f"{self.folder}: level {level} holds the same block twice")
        return shards

    def refer(self, shard: Shard) -> Shard:
        """A shard whose parameters stay in its file, and are checked whenever they are read."""
        read = partial(self._stored, shard.file_name, shard.sha256)
        frames = shard.frames
        if len(frames) and not frames.any():  # as nearly always: one row in memory for all blocks
            frames = frames.new_zeros(1, frames.shape[1]).expand_as(frames)
        return replace(shard, frames=frames, stored=FileParameters(read))

    def _read(self, name: str, sha256: str) -> Mapping[int, Parameters]:
        shard = read_shard(self.folder / name, self._spec)
        if shard.sha256 != sha256:
            raise RepresentationError(f"{self.folder / name}: was changed while it was in use")
        return shard.stored


class MemoryStore:
    """The shards of a fit in one process, in memory: nothing is resumed."""

    n_bytes = None  # nothing is on a disk

    def start_level(self, level: int, chunks: Sequence[Tensor]) -> list[int]:
        """Start a level; gives the numbers of all chunks."""
        self.shards: list[Shard] = []
        return list(range(len(chunks)))

    def add(self, shard: Shard) -> None:
        """Keep a shard of the level."""
        self.shards.append(shard)

    def finish_level(self) -> None:
        """Nothing."""


@dataclass(eq=False)
class FolderStore:
    """Writes shards as they are finished, and finds those of an earlier start of the run.

    A shard is resumed if it has the digest of the present fit (`digest`) and of the tensors of all
    coarser levels. All `ranks` call the same methods; rank 0 alone resumes shards and writes the
    manifest. Methods raise `OSError` if the disk takes no file, or another rank's does not show.
    """

    folder: Path
    spec: Spec
    fit: dict[str, Any]
    digest: str
    ranks: Communicator = SINGLE_PROCESS

    def __post_init__(self) -> None:
        self._files = ShardFolder(self.folder, self.spec)
        self._parent_digest, self._level = self.digest, self.spec.n_levels
        self._finished = self.spec.n_levels  # the finest level of this start
        self._manifest = Manifest(self.spec, {}, self.fit)
        self._present: dict[int, Shard] = {}

    def begin(self) -> None:
        """Make the folder, or read what is in it; nothing is written before all ranks agree.

        Rank 0 raises `ConfigError` if the folder, or another rank, has other bits.
        """
        gathered = self.ranks.gather(own := (self.fit["backend"], self.digest))
        if self.ranks.rank == 0:
            for rank, other in enumerate(gathered):
                if other != own:
                    kinds = f"kind of device or backend ({other[0]}; {own[0]} on rank 0)"
                    remedy = "start all ranks with the same command on machines that are alike"
                    problem = f"rank {rank} has other settings, another image, {kinds}"
                    raise ConfigError(f"{problem}: {remedy}, or with backend=eager")
            self._open()
        self.ranks.gather(None)
        wait_for_file(self.folder / MANIFEST)

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for part in self.folder.glob(".*.part"):  # of a process that was killed
            part.unlink()
        earlier = self._manifest
        if (self.folder / MANIFEST).exists():
            try:
                earlier = Manifest.read(self.folder)
            except RepresentationError as error:  # shards have checksums and digests of their own
                _LOG.warning("%s; it is written anew", error)
        before, now = earlier.fit.get("backend"), self.fit["backend"]
        if before not in (None, now):
            problem = f"was begun with {before}, and here {now} would give other bits"
            remedy = "go on where it was begun, or name another folder"
            raise ConfigError(f"{self.folder.parent}: {problem}; {remedy}")
        write_mask(self.folder, self.spec.mask)
        self._write_manifest(earlier.levels)
        (self.folder / OVERVIEW).unlink(missing_ok=True)  # is written when all is fitted

    def start_level(self, level: int, chunks: Sequence[Tensor]) -> list[int]:
        """Resume a level's finished shards and return the chunks that are to be fitted.

        `chunks` are the blocks of each. A file that cannot be used is reported.
        """
        self._level, self._present = level, {}
        listed = self._manifest.levels.get(level, {})
        for chunk, blocks in enumerate(chunks) if self.ranks.rank == 0 else ():
            path = self.folder / shard_name(level, chunk)
            if path.name not in listed and not path.exists():
                continue
            try:
                shard = self._files.open(path.name)
                found = shard.level, shard.chunk, shard.parent_digest, shard.sha256
                sha256 = listed.get(path.name, shard.sha256)
                is_wanted = found == (level, chunk, self._parent_digest, sha256)
                if not is_wanted or not set(shard.blocks.tolist()) <= set(blocks.tolist()):
                    raise RepresentationError(f"{path}: is of another fit, and fitted again")
                self._present[chunk] = shard
            except RepresentationError as error:
                _LOG.warning("%s", error)
        missing = [chunk for chunk in range(len(chunks)) if chunk not in self._present]
        coarser = {j: found for j, found in self._manifest.levels.items() if j > level}
        if missing and coarser != self._manifest.levels:
            self._write_manifest(coarser)  # it must not name files that are about to change
        return self.ranks.gather(missing)[0]  # from here on the folder changes

    def add(self, shard: Shard) -> None:
        """Write a shard, whose parameters then stay in its file."""
        written = write_shard(self.folder, shard, self._parent_digest)
        self._present[shard.chunk] = self._files.refer(written)

    @property
    def shards(self) -> list[Shard]:
        """The level's shards in the order of chunks."""
        return [shard for _, shard in sorted(self._present.items())]

    def finish_level(self) -> None:
        """Add the shards of all ranks, whose parameters stay in the files, to the manifest."""
        own = [replace(shard, stored={}) for shard in self._present.values()]
        for header in itertools.chain(*self.ranks.gather(own)):
            if header.chunk not in self._present:
                wait_for_file(self.folder / header.file_name)
                self._present[header.chunk] = self._files.refer(header)
        self._finished = self._level
        finished = {self._level: {shard.file_name: shard.sha256 for shard in self.shards}}
        self._write_manifest(self._manifest.levels | finished)
        digests = [self._parent_digest, *(shard.tensors_sha256 for shard in self.shards)]
        self._parent_digest = hashlib.sha256(" ".join(digests).encode()).hexdigest()

    def add_overview(self, image: Signal) -> None:
        """Write a level that all ranks have rendered, and name it in the manifest."""
        if self.ranks.rank == 0:
            overview = write_overview(self.folder, self.spec, image)
            self._write_manifest(self._manifest.levels, overview)

    @property
    def n_bytes(self) -> int:
        """Size of the manifest, the mask, the overview and the shards of levels now finished."""
        own = {j: found for j, found in self._manifest.levels.items() if j >= self._finished}
        names = replace(self._manifest, levels=own).files | {MANIFEST}
        return sum((self.folder / name).stat().st_size for name in names)

    def _write_manifest(self, levels: dict[int, dict[str, str]], overview: str = "") -> None:
        self._manifest = Manifest(self.spec, levels, self.fit, overview=overview)
        if self.ranks.rank == 0:
            self._manifest.write(self.folder)
