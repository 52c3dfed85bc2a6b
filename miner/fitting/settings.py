"""Everything that decides a fit, as built objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from miner.fitting.backend import Backend
from miner.fitting.capacity import Capacity
from miner.fitting.criteria import Loss, Pruning, Schedule
from miner.fitting.device import ComputeDevice
from miner.fitting.initialization import FreshWeights, Weights
from miner.fitting.readout import Readout
from miner.fitting.selection import LevelSelection
from miner.fitting.steps import OptimizerFactory, StepSettings
from miner.models.network import BlockModel
from miner.pyramids.pyramid import Pyramid
from miner.representation.rendering import ShardIndex
from miner.representation.spec import Spec
from miner.representation.storage import Storage


@dataclass(frozen=True)
class FitSettings:
    """Settings of a fit; the comments in `conf/` explain each."""

    patch_size: int
    seed: int
    pyramid: Pyramid
    model: BlockModel  # of any width
    width: int | Sequence[int]
    capacity: Capacity
    readout: Readout
    weights: Weights
    optimizer: OptimizerFactory
    schedule: Schedule
    loss: Loss
    pruning: Pruning
    storage: Storage
    backend: Backend
    max_mse: float
    level_selection: LevelSelection
    max_steps: int | Sequence[int]
    batch_pixels: int | None
    blocks_per_shard: int
    max_memory_gib: float

    @property
    def builds_on_coarser(self) -> bool:
        """Whether blocks alone do not give the pixels of finer levels."""
        pyramid, is_drawn = self.pyramid, self.weights == FreshWeights()
        return pyramid.merges_prediction or pyramid.step > 1 or bool(self.loss.halo) or not is_drawn

    @property
    def evaluates_coarser(self) -> bool:
        """Whether blocks of coarser levels give finer ones' pixels, and do not predict them."""
        return self.level_selection.compares_levels and not self.builds_on_coarser

    def ring_at(self, level: int) -> int:
        """Pixels around blocks that they fit, too, as they are evaluated beyond their own."""
        return 1 if level and self.evaluates_coarser else 0

    def steps_at(self, level: int) -> StepSettings:
        """How a level is trained."""
        given = self.optimizer, self.schedule, self.loss, self.batch_pixels
        return StepSettings(at_level(self.max_steps, level), *given, (self.seed, level, "pixels"))


def at_level(value: int | Sequence[int], level: int) -> int:
    """A setting's value at a level, 0 being the finest: lists end there, their first repeats."""
    if isinstance(value, Sequence):
        return value[max(0, len(value) - 1 - level)]
    return value


class LevelContext(NamedTuple):
    """What all fits of blocks of one level share."""

    spec: Spec
    settings: FitSettings
    level: int
    compute: ComputeDevice
    parents: ShardIndex
