"""The stored product of a fit and how it is rendered, saved and loaded."""

from miner.representation.representation import REPRESENTATION_FOLDER, Representation, load
from miner.representation.shard import ChunkStats, Shard, write_shard
from miner.representation.spec import MANIFEST, Manifest, Spec, read_manifest, write_manifest
from miner.representation.store import FolderStore

__all__ = [
    "MANIFEST",
    "REPRESENTATION_FOLDER",
    "ChunkStats",
    "FolderStore",
    "Manifest",
    "Representation",
    "Shard",
    "Spec",
    "load",
    "read_manifest",
    "write_manifest",
    "write_shard",
]
