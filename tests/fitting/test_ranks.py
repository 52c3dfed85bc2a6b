"""Ranks share scoring, fitting and rendering, and come to the bits of one process."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from block_problems import CPU, flat_and_busy, render, stored
from problems import fitter, masked_on_the_right
from thread_ranks import in_threads
from torch import Tensor

from miner.fitting.initialization import SharedWeights
from miner.fitting.pyramid_fit import PyramidFit
from miner.fitting.selection import AdaptiveSelection
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid
from miner.representation import Representation, Shard
from miner.signals.scratch import Scratch
from miner.signals.store import LocalSignalStore, SharedSignalStore
from miner.support.communication import SINGLE_PROCESS, Communicator, gather_items, items_of_rank

Run = tuple[list[Tensor], list[float]]
CHANGES: list[dict[str, Any]] = [
    {"pyramid": GaussianPyramid(3)},
    {"pyramid": LaplacianPyramid(3), "weights": SharedWeights()},
    {"pyramid": GaussianPyramid(3), "mask": masked_on_the_right(45, 38)},
    {"pyramid": GaussianPyramid(3), "level_selection": AdaptiveSelection(), "max_mse": 0.02},
]


def run(running: PyramidFit, ranks: Communicator) -> Run:
    """What a fit stores and renders in the end, and the errors that it finds on its way."""
    shards: dict[int, list[Shard]] = {}
    errors = []
    for level in reversed(range(running.spec.n_levels)):
        fit = running.start_level(level)
        own = [fit.fit_chunk(chunk) for chunk in items_of_rank(ranks, range(len(fit.chunks)))]
        shards[level] = gather_items(ranks, own)
        errors += [fit.predicted_sse, fit.clipped_sse]
        tiles = render(running, fit, shards[level], ranks)
    return [*stored(Representation(running.spec, shards)), *tiles], errors


def by_ranks(folder: Path, world_size: int, signal: Tensor, **changes: Any) -> list[Run]:
    """The same fit by ranks that see one folder."""

    def work(ranks: Communicator) -> Run:
        store = SharedSignalStore(CPU, folder, is_writer=ranks.rank == 0, tile_side=16)
        return run(fitter(signal, store, ranks, **changes), ranks)

    return in_threads(world_size, work)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("changes", CHANGES, ids=["gaussian", "laplacian", "masked", "adaptive"])
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


def test_no_tile_is_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    complete, written = Path.replace, []

    def replace(path: Path, target: Path) -> Path:
        written.append((threading.get_ident(), target))
        return complete(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    by_ranks(tmp_path, 2, flat_and_busy(64, 64), max_steps=1, pyramid=GaussianPyramid(3))
    assert len({path for _, path in written}) == len(written)
    counts = Counter(rank for rank, _ in written)
    assert len(counts) == 2
    assert max(counts.values()) - min(counts.values()) <= 4  # one for each signal
