"""The stored product of a fit and how it is rendered, saved and loaded."""

from miner.representation.representation import MinerRepresentation, load, write_manifest
from miner.representation.shard import ChunkStats, RepresentationError, Shard, write_shard
from miner.representation.spec import Spec

__all__ = [
    "ChunkStats",
    "MinerRepresentation",
    "RepresentationError",
    "Shard",
    "Spec",
    "load",
    "write_manifest",
    "write_shard",
]
