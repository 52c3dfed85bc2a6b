"""The stored product of a fit and how it is rendered, saved and loaded."""

from miner.representation.representation import Representation
from miner.representation.shard import Shard
from miner.representation.spec import (
    MANIFEST,
    LevelNetwork,
    Manifest,
    Spec,
    read_manifest,
    write_manifest,
)
from miner.representation.store import REPRESENTATION_FOLDER, load

__all__ = [
    "MANIFEST",
    "REPRESENTATION_FOLDER",
    "LevelNetwork",
    "Manifest",
    "Representation",
    "Shard",
    "Spec",
    "load",
    "read_manifest",
    "write_manifest",
]
