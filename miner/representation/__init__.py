"""The stored product of a fit and how it is rendered, saved and loaded."""

from miner.representation.representation import Representation
from miner.representation.shard import Shard
from miner.representation.spec import LevelNetwork, Spec
from miner.representation.store import REPRESENTATION_FOLDER, load

__all__ = ["REPRESENTATION_FOLDER", "LevelNetwork", "Representation", "Shard", "Spec", "load"]
