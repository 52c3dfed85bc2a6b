"""What a level is where none of its own blocks is active."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from miner.models.network import BlockNetwork
from miner.pyramids.resample import predicted_signal, reduced_signal
from miner.representation.rendering import Outputs, ShardIndex, cell_of, render_level
from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid
from miner.signals.regions import Region, slices
from miner.signals.signal import Signal, SourceSignal


def predicted_image(
    spec: Spec,
    level: int,
    shards: Sequence[ShardIndex],
    image: Callable[[int], Signal],
    device: torch.device,
) -> Signal:
    """The prediction of a level of a whole representation; `image` gives other levels.

    It is the next coarser level, expanded, or what the coarser blocks give at this level's pixels:
    then pixels that only finer blocks represent are theirs, reduced.
    """
    shape = spec.n_channels, *spec.level_sides[level]
    if not spec.evaluates_coarser:
        coarser = None if spec.is_coarsest(level) else image(level + 1)
        return predicted_signal(spec.pyramid, coarser, shape, device)
    finer = reduced_signal(spec.pyramid, image(level - 1)) if level > 0 else None
    base = finer or predicted_signal(spec.pyramid, None, shape, device)
    return coarser_blocks(spec, level, shards, base)


def coarser_blocks(
    spec: Spec,
    level: int,
    shards: Sequence[ShardIndex],
    base: Signal,
    outputs: Outputs = BlockNetwork.outputs,
) -> Signal:
    """What blocks of all coarser levels give at the pixels of a level, the finest that is there."""

    def read(coarser: int, below: Signal, region: Region) -> Tensor:
        cell, _ = cell_of(spec, coarser - level)
        box = PatchGrid(base.sides, cell).around(region)
        finer = coarser - level
        values = render_level(spec, coarser, shards[coarser], below, box, outputs, finer)
        return values[(slice(None), *slices(region, box))]

    signal = base
    for coarser in reversed(range(level + 1, spec.n_levels)):
        reader = partial(read, coarser, signal)
        signal = SourceSignal(reader, base.n_channels, base.sides, base.device)
    return signal
