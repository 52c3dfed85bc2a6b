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

from miner.exchange import ALONE, Exchange, collect, share
from miner.fitting.fitter import PyramidFitter
from miner.fitting.weights import SharedWeights
from miner.pyramid import GaussianPyramid, LaplacianPyramid, SharedRaster, SharedRoom
from miner.regions import Region
from miner.representation import MinerRepresentation, Shard

Run = tuple[list[Tensor], list[float]]
CHANGES: list[dict[str, Any]] = [
    {"pyramid": GaussianPyramid(3)},
    {"pyramid": LaplacianPyramid(3), "weights": SharedWeights()},
]


def run(running: PyramidFitter, ranks: Exchange) -> Run:
    """What a fit stores, and the errors that it finds on its way."""
    shards: dict[int, list[Shard]] = {}
    errors = []
    for level in reversed(range(running.spec.n_levels)):
        fit = running.start_level(level)
        own = [fit.fit_chunk(chunk) for chunk in share(ranks, range(len(fit.chunks)))]
        shards[level] = collect(ranks, own)
        errors += [fit.predicted_sse, fit.clipped_sse, running.finish_level(fit, shards[level])]
    return stored(MinerRepresentation(running.spec, shards)), errors


def together(template: PyramidFitter, folder: Path, n_ranks: int) -> list[Run]:
    """The same fit by ranks that see one folder."""

    def work(ranks: ThreadRank) -> Run:
        room = SharedRoom(torch.device("cpu"), folder, ranks.rank == 0)
        given = template.signals[0], template.spec, template.settings
        return run(PyramidFitter(*given, room, ranks), ranks)

    return in_threads(n_ranks, work)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miner.regions.TILE_SIDE", 16)


@pytest.mark.parametrize("n_ranks", [2, 3])
@pytest.mark.parametrize("changes", CHANGES, ids=["gaussian", "laplacian"])
def test_ranks_come_to_the_bits_of_one_process(
    tmp_path: Path, changes: dict[str, Any], n_ranks: int
) -> None:
    template = fitter(flat_and_busy(45, 38), max_steps=2, chunk_size=3, **changes)

    numbers, errors = run(template, ALONE)
    for found, its_errors in together(template, tmp_path, n_ranks):
        assert len(found) == len(numbers) and all(map(torch.equal, found, numbers))
        assert its_errors == errors
    assert not list(tmp_path.iterdir())


def test_no_tile_is_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = fitter(flat_and_busy(64, 64), max_steps=1, pyramid=GaussianPyramid(3))
    written: list[tuple[int, Path, Region]] = []
    write = SharedRaster.write

    def watched(self: SharedRaster, region: Region, values: Tensor) -> None:
        written.append((get_ident(), self._path, region))
        write(self, region, values)

    monkeypatch.setattr(SharedRaster, "write", watched)
    together(template, tmp_path, 2)
    assert len({(path, region) for _, path, region in written}) == len(written)
    counts = Counter(thread for thread, _, _ in written)
    assert max(counts.values()) - min(counts.values()) <= 4  # one for each signal
