"""Ranks share out scoring, fitting and rendering, and come to the bits of one process."""

from collections import Counter
from pathlib import Path
from threading import get_ident
from typing import Any

import pytest
import torch
from problems import fitter
from thread_ranks import ThreadRank, in_threads
from torch import Tensor
from whole_fits import flat_and_busy, stored

from miner.fitting.initialization import SharedWeights
from miner.fitting.pyramid_fit import PyramidFit
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid
from miner.representation import Representation, Shard
from miner.signals.regions import Region
from miner.signals.store import SharedSignal, SharedSignalStore
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
        errors += [fit.predicted_sse, fit.clipped_sse, running.finish_level(fit, shards[level])]
    return stored(Representation(running.spec, shards)), errors


def together(template: PyramidFit, folder: Path, world_size: int) -> list[Run]:
    """The same fit by ranks that see one folder."""

    def work(ranks: ThreadRank) -> Run:
        signal_store = SharedSignalStore(torch.device("cpu"), folder, ranks.rank == 0)
        given = template.signals[0], template.spec, template.settings
        return run(PyramidFit(*given, signal_store, ranks), ranks)

    return in_threads(world_size, work)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miner.signals.regions.TILE_SIDE", 16)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("changes", CHANGES, ids=["gaussian", "laplacian"])
def test_ranks_come_to_the_bits_of_one_process(
    tmp_path: Path, changes: dict[str, Any], world_size: int
) -> None:
    template = fitter(flat_and_busy(45, 38), max_steps=2, blocks_per_shard=3, **changes)

    numbers, errors = run(template, SINGLE_PROCESS)
    for found, its_errors in together(template, tmp_path, world_size):
        assert len(found) == len(numbers) and all(map(torch.equal, found, numbers))
        assert its_errors == errors
    assert not list(tmp_path.iterdir())


def test_no_tile_is_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = fitter(flat_and_busy(64, 64), max_steps=1, pyramid=GaussianPyramid(3))
    written: list[tuple[int, Path, Region]] = []
    write = SharedSignal.write

    def watched(self: SharedSignal, region: Region, values: Tensor) -> None:
        written.append((get_ident(), self._path, region))
        write(self, region, values)

    monkeypatch.setattr(SharedSignal, "write", watched)
    together(template, tmp_path, 2)
    assert len({(path, region) for _, path, region in written}) == len(written)
    counts = Counter(thread for thread, _, _ in written)
    assert max(counts.values()) - min(counts.values()) <= 4  # one for each signal
