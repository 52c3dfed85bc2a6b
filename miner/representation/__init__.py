"""The stored product of a fit and how it is rendered, saved and loaded."""

from miner.representation.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from miner.representation.representation import REPRESENTATION_FOLDER, Representation, load
from miner.representation.shard import ChunkStats, Shard, shard_name, write_shard
from miner.representation.spec import Spec
from miner.representation.store import FolderStore
from miner.support.errors import RepresentationError

__all__ = [
    "MANIFEST",
    "REPRESENTATION_FOLDER",
    "ChunkStats",
    "FolderStore",
    "Manifest",
    "Representation",
    "RepresentationError",
    "Shard",
    "Spec",
    "load",
    "read_manifest",
    "shard_name",
    "write_manifest",
    "write_shard",
]
