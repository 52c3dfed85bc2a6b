"""The representation's folder while it is being made, or made further."""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from miner.representation import (
    MANIFEST,
    Manifest,
    Shard,
    ShardFile,
    ShardFolder,
    Spec,
    header_of,
    read_manifest,
    shard_name,
    write_manifest,
)
from miner.support.errors import ConfigError, RepresentationError
from miner.support.files import wait_for_file

_LOG = logging.getLogger("miner")


class FolderStore:
    """Takes shards as they are finished and finds those that an earlier start has left.

    A shard is taken up if its file is whole and its `basis` is the present one: the digest of what
    the fit depends on and of all coarser levels' tensors. So a shard of another fit, or one whose
    coarser levels came out differently, is fitted again. Of several processes one keeps the folder:
    it alone looks for earlier shards and writes the manifest.
    """

    def __init__(
        self,
        folder: Path,
        spec: Spec,
        fit: Mapping[str, Any],
        digest: str,
        is_keeper: bool = True,
    ) -> None:
        """Take the folder, what the manifest says of the fit, and a digest of what matters."""
        self.folder, self._spec, self._fit = folder, spec, fit
        self._is_keeper = is_keeper
        self._files = ShardFolder(folder, spec)
        self._levels: dict[int, dict[str, str]] = {}
        self._present: dict[int, ShardFile] = {}
        self._basis = digest
        self._expected: Mapping[int, Mapping[str, str]] = {}
        self._level = spec.n_levels

    def begin(self) -> None:
        """Make the folder, or look at what an earlier start has left in it.

        Raises:
            ConfigError: another kernel was at work, whose bits are others.
            OSError: the disk is full, or the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for part in self.folder.glob(".*.part"):  # of a process that was killed
            part.unlink()
        if (self.folder / MANIFEST).exists():
            try:
                manifest = read_manifest(self.folder)
            except RepresentationError as error:  # shards are judged by their own basis
                _LOG.warning("%s; it is written anew", error)
            else:
                self._refuse_other_backend(manifest.fit.get("backend"))
                self._expected = manifest.levels
        self._write_manifest()

    def join(self) -> None:
        """Find the folder that another process has begun.

        Raises:
            FileNotFoundError: it is not to be seen from here.
        """
        wait_for_file(self.folder / MANIFEST)

    def start_level(self, level: int, chunks: Sequence[Tensor]) -> list[int]:
        """Take up the level's finished shards; gives the chunks that are still to be fitted.

        Whoever does not keep the folder gives none.

        `chunks` are the blocks of each. A file that cannot be taken up is reported by its name.
        """
        self._level, self._present = level, {}
        if not self._is_keeper:
            return []
        for chunk, blocks in enumerate(chunks):
            try:
                file = self._resumed(chunk, blocks)
            except RepresentationError as error:
                _LOG.warning("%s", error)
                file = None
            if file is not None:
                self._present[chunk] = file
        for stray in self._strays(len(chunks)):
            _LOG.warning("%s: is no shard of this fit; it is left alone", stray)
        missing = [chunk for chunk in range(len(chunks)) if chunk not in self._present]
        if missing and self._expected:
            self._expected = {}  # the manifest must not name files that are about to change
            self._write_manifest()
        return missing

    def add(self, shard: Shard) -> None:
        """Write a shard whole or not at all.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        self._present[shard.chunk] = self._files.write(shard, self._basis)

    def shard_headers(self) -> list[ShardFile]:
        """What this process has of the present level, for the others to `take`."""
        return [header_of(file) for file in self._present.values()]

    def add_remote(self, shard_headers: Iterable[ShardFile]) -> None:
        """Know of shards that other processes have written.

        Raises:
            FileNotFoundError: a file is not to be seen from here.
        """
        for head in shard_headers:
            if head.shard.chunk not in self._present:
                wait_for_file(self.folder / head.shard.file_name)
                self._present[head.shard.chunk] = self._files.refer(head)

    @property
    def shards(self) -> list[Shard]:
        """The present level's, in the order of chunks; their numbers lie in their files."""
        return [file.shard for _, file in sorted(self._present.items())]

    def finish_level(self) -> None:
        """Name the level's shards in the manifest, which the keeper writes.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        files = [file for _, file in sorted(self._present.items())]
        self._levels[self._level] = {file.shard.file_name: file.sha256 for file in files}
        if self._is_keeper:
            self._write_manifest()
        self._basis = _digest(self._basis, *(file.tensors_sha256 for file in files))

    @property
    def n_bytes(self) -> int:
        """Size of the manifest and of the shards that it names."""
        names = [MANIFEST, *(name for found in self._levels.values() for name in found)]
        return sum((self.folder / name).stat().st_size for name in names)

    def _refuse_other_backend(self, before: Any) -> None:
        now = self._fit.get("backend")
        if before not in (None, now):
            raise ConfigError(
                f"{self.folder.parent}: was begun with {before}, and here {now} would go on, with "
                "other bits; go on where it was begun, or name another folder"
            )

    def _write_manifest(self) -> None:
        finer = {level: found for level, found in self._expected.items() if level < self._level}
        write_manifest(self.folder, Manifest(self._spec, finer | self._levels, self._fit))

    def _resumed(self, chunk: int, blocks: Tensor) -> ShardFile | None:
        name = shard_name(self._level, chunk)
        expected = self._expected.get(self._level, {}).get(name)
        if expected is None and not (self.folder / name).exists():
            return None
        file = self._files.open(name)
        shard = file.shard
        is_ours = file.basis == self._basis and expected in (None, file.sha256)
        is_in_place = (shard.level, shard.chunk) == (self._level, chunk)
        if not (is_ours and is_in_place and set(shard.blocks.tolist()) <= set(blocks.tolist())):
            raise RepresentationError(f"{self.folder / name}: is of another fit, and fitted again")
        return file

    def _strays(self, n_chunks: int) -> Iterator[Path]:
        names = {shard_name(self._level, chunk) for chunk in range(n_chunks)}
        found = sorted(self.folder.glob(shard_name(self._level, 0).replace("00000", "*")))
        return (path for path in found if path.name not in names)


def _digest(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()
