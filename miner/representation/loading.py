"""Representations that were stored, with the reports of the runs that made them."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch

from miner.representation.representation import Representation
from miner.representation.shard import Shard
from miner.representation.spec import MANIFEST, read_manifest
from miner.representation.store import ShardFolder
from miner.support.errors import RepresentationError
from miner.support.run_files import REPORT, read_report

REPRESENTATION_FOLDER = "representation"  # in the folder of the run that makes it


def load(path: str | Path) -> Representation:
    """Load a representation from its folder, or from the folder of the run that made it.

    All files are checked; parameters stay on the disk until they are rendered. A run's report, if
    it can be read, is `report`. Raises `RepresentationError` if the manifest or a shard is missing,
    damaged or foreign.
    """
    folder = run = Path(path)
    inner = folder / REPRESENTATION_FOLDER
    if (inner / MANIFEST).exists() and not (folder / MANIFEST).exists():
        folder = inner
    elif folder.name == REPRESENTATION_FOLDER and not (folder / REPORT).exists():
        run = folder.parent
    manifest = read_manifest(folder)
    report = None
    with suppress(ValueError):  # that of another version, say
        report = read_report(run)
    files = ShardFolder(folder, manifest.spec)
    shards = {level: _open_level(files, level, names) for level, names in manifest.levels.items()}
    return Representation(manifest.spec, shards, report)


def _open_level(files: ShardFolder, level: int, checksums: Mapping[str, str]) -> list[Shard]:
    shards = [files.open(name) for name in checksums]
    for shard, (name, sha256) in zip(shards, checksums.items(), strict=True):
        if (shard.level, shard.file_name, shard.sha256) != (level, name, sha256):
            path = files.folder / name
            raise RepresentationError(f"{path}: not the shard that the manifest names")
    blocks = torch.cat([torch.empty(0), *(shard.blocks for shard in shards)])
    if len(blocks.unique()) != len(blocks):
        raise RepresentationError(f"{files.folder}: level {level} holds the same block twice")
    return shards
