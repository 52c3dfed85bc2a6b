"""What a level is, and what it is where none of its own blocks is active."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from miner.models.network import BlockNetwork
from miner.pyramids.resample import predicted_signal, reduced_signal
from miner.representation.rendering import Outputs, ShardIndex, cell_of, render_level
from miner.representation.spec import Spec
from miner.signals.grid import PatchGrid
from miner.signals.regions import Region, slices
from miner.signals.signal import ReadRegion, Signal, SourceSignal


def level_image(
    spec: Spec,
    level: int,
    shards: Sequence[ShardIndex],
    known: Mapping[int, ReadRegion],
    device: torch.device,
) -> Signal:
    """A level of a whole representation, unclipped, rendered where it is read.

    Levels that are `known` are read instead. Of a representation that `evaluates_coarser`, pixels
    that only finer blocks represent are the next finer level's, reduced.
    """
    if level in known:
        return SourceSignal(known[level], spec.n_channels, spec.level_sides[level], device)
    image = partial(level_image, spec, shards=shards, known=known, device=device)
    shape = spec.n_channels, *spec.level_sides[level]
    if not spec.evaluates_coarser:
        coarser = None if spec.is_coarsest(level) else image(level + 1)
        prediction = predicted_signal(spec.pyramid, coarser, shape, device)
    else:
        finer = reduced_signal(spec.pyramid, image(level - 1)) if level > 0 else None
        base = finer or predicted_signal(spec.pyramid, None, shape, device)
        prediction = coarser_blocks(spec, level, shards, base)

    def read(region: Region) -> Tensor:
        box = spec.grid(level).around(region)
        rendered = render_level(spec, level, shards[level], prediction, box)
        return rendered[(slice(None), *slices(region, box))].contiguous()

    return SourceSignal(read, spec.n_channels, prediction.sides, device)


def coarser_blocks(
    spec: Spec,
    level: int,
    shards: Sequence[ShardIndex],
    base: Signal,
    outputs: Outputs = BlockNetwork.outputs,
) -> Signal:
    """What blocks of all coarser levels give at the pixels of a level, the finest that is there."""

    def read(coarser: int, below: Signal, region: Region) -> Tensor:
        finer = coarser - level
        size = spec.patch_size << finer
        ends = [(low // size, -(-high // size)) for low, high in region]
        if not shards[coarser].near(*zip(*ends, strict=True)):
            return below.read(region)
        cell, _ = cell_of(spec, finer)
        box = PatchGrid(base.sides, cell).around(region)
        values = render_level(spec, coarser, shards[coarser], below, box, outputs, finer)
        return values[(slice(None), *slices(region, box))]

    signal = base
    for coarser in reversed(range(level + 1, spec.n_levels)):
        reader = partial(read, coarser, signal)
        signal = SourceSignal(reader, base.n_channels, base.sides, base.device)
    return signal
