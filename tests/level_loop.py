"""The levels of a pyramid fitted one after another, without Lightning."""

from miner.fitting.level_fit import LevelFit
from miner.fitting.pyramid_fit import PyramidFit
from miner.representation import Representation, Shard


def render(running: PyramidFit, level: LevelFit, shards: list[Shard]) -> float:
    """Render a level that is fitted; gives its summed squared error."""
    running.start_rendering(level, shards)
    for region, values in running.level_tiles():
        running.render(region, values)
    return running.finish_level()


def finish(running: PyramidFit, level: LevelFit) -> list[Shard]:
    """Fit all chunks of a level, render it, and return its shards."""
    shards = [level.fit_chunk(chunk) for chunk in range(len(level.chunks))]
    render(running, level, shards)
    return shards


def fit_levels(running: PyramidFit) -> Representation:
    """Fit all levels."""
    levels = reversed(range(running.spec.n_levels))
    shards = {level: finish(running, running.start_level(level)) for level in levels}
    return Representation(running.spec, shards)
