"""The stored product of a fit and how it is rendered, saved and loaded."""

from miner.representation.folder import ShardFolder, head_of
from miner.representation.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from miner.representation.representation import (
    PRODUCT,
    MinerRepresentation,
    load,
    product_folder,
)
from miner.representation.shard import (
    ChunkStats,
    RepresentationError,
    Shard,
    ShardFile,
    shard_name,
    write_shard,
)
from miner.representation.spec import Spec

__all__ = [
    "MANIFEST",
    "PRODUCT",
    "ChunkStats",
    "Manifest",
    "MinerRepresentation",
    "RepresentationError",
    "Shard",
    "ShardFile",
    "ShardFolder",
    "Spec",
    "head_of",
    "load",
    "product_folder",
    "read_manifest",
    "shard_name",
    "write_manifest",
    "write_shard",
]
