"""Ranks share scoring, fitting and rendering, and come to the bits of one process."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from block_problems import CPU, flat_and_busy, render, stored
from problems import fitter
from thread_ranks import ThreadRank, in_threads
from torch import Tensor

from miner.fitting.initialization import SharedWeights
from miner.fitting.pyramid_fit import PyramidFit
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid
from miner.representation import Representation, Shard
from miner.signals.regions import Region
from miner.signals.scratch import Scratch
from miner.signals.store import LocalSignalStore, SharedSignal, SharedSignalStore
from miner.support.communication import SINGLE_PROCESS, Communicator, gather_items, items_of_rank

Run = tuple[list[Tensor], list[float]]
CHANGES: list[dict[str, Any]] = [
    {"pyramid": GaussianPyramid(3)},
    {"pyramid": LaplacianPyramid(3), "weights": SharedWeights()},
]


def run(running: PyramidFit, ranks: Communicator) -> Run:
    """What a fit stores, and the errors that it finds on its way."""
    shards: dict[int, list[Shard]] = {}
    errors = []
    for level in reversed(range(running.spec.n_levels)):
        fit = running.start_level(level)
        own = [fit.fit_chunk(chunk) for chunk in items_of_rank(ranks, range(len(fit.chunks)))]
        shards[level] = gather_items(ranks, own)
        errors += [fit.predicted_sse, fit.clipped_sse, render(running, fit, shards[level])]
    return stored(Representation(running.spec, shards)), errors


class WatchedSignal(SharedSignal):
    """Reports each tile before it is written."""

    def __init__(self, on_write: Callable[[Region], None], *given: Any) -> None:
        super().__init__(*given)
        self.on_write = on_write

    def write(self, region: Region, values: Tensor) -> None:
        self.on_write(region)
        super().write(region, values)


class WatchedStore(SharedSignalStore):
    """Reports which tile of which signal is written."""

    def __init__(self, folder: Path, rank: int, on_write: Callable[..., None]) -> None:
        super().__init__(CPU, folder, is_writer=rank == 0, tile_side=16)
        self.folder, self.rank, self.on_write = folder, rank, on_write

    def new(self, name: str, n_channels: int, sides: tuple[int, ...]) -> SharedSignal:
        on_write = partial(self.on_write, self.rank, name)
        return WatchedSignal(on_write, self.folder / name, n_channels, sides, CPU)


def by_ranks(
    folder: Path,
    world_size: int,
    signal: Tensor,
    on_write: Callable[..., None] = lambda *where: None,
    **changes: Any,
) -> list[Run]:
    """The same fit by ranks that see one folder."""

    def work(ranks: ThreadRank) -> Run:
        store = WatchedStore(folder, ranks.rank, on_write)
        return run(fitter(signal, store, ranks, **changes), ranks)

    return in_threads(world_size, work)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("changes", CHANGES, ids=["gaussian", "laplacian"])
def test_ranks_come_to_the_bits_of_one_process(
    tmp_path: Path, changes: dict[str, Any], world_size: int
) -> None:
    signal, given = flat_and_busy(45, 38), {"max_steps": 2, "blocks_per_shard": 3} | changes
    store = LocalSignalStore(CPU, Scratch(None), tile_side=16)
    numbers, errors = run(fitter(signal, store, **given), SINGLE_PROCESS)
    for found, its_errors in by_ranks(tmp_path, world_size, signal, **given):
        assert len(found) == len(numbers) and all(map(torch.equal, found, numbers))
        assert its_errors == errors
    assert not list(tmp_path.iterdir())


def test_no_tile_is_written_twice(tmp_path: Path) -> None:
    written: list[tuple[int, str, Region]] = []
    changes = {"max_steps": 1, "pyramid": GaussianPyramid(3)}
    signal = flat_and_busy(64, 64)
    by_ranks(tmp_path, 2, signal, lambda *where: written.append(where), **changes)
    assert len({(name, region) for _, name, region in written}) == len(written)
    counts = Counter(rank for rank, _, _ in written)
    assert max(counts.values()) - min(counts.values()) <= 4  # one for each signal
