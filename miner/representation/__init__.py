"""The stored product of a fit and how it is rendered, saved and loaded."""

from miner.representation.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from miner.representation.representation import (
    REPRESENTATION_FOLDER,
    Representation,
    load,
    representation_folder,
)
from miner.representation.shard import ChunkStats, Shard, ShardFile, shard_name, write_shard
from miner.representation.shard_folder import ShardFolder, header_of
from miner.representation.spec import Spec
from miner.support.errors import RepresentationError

__all__ = [
    "MANIFEST",
    "REPRESENTATION_FOLDER",
    "ChunkStats",
    "Manifest",
    "Representation",
    "RepresentationError",
    "Shard",
    "ShardFile",
    "ShardFolder",
    "Spec",
    "header_of",
    "load",
    "read_manifest",
    "representation_folder",
    "shard_name",
    "write_manifest",
    "write_shard",
]
