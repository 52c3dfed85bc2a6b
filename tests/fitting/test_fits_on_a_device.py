"""A fit on another device is that of the CPU, crosses over seldom and waits seldom."""

from typing import Any

import pytest
import torch
from block_problems import fit_levels, flat_and_busy, noise, render, stored
from fake_device import FAKE, FakeDevice
from problems import fit, fitter
from torch import Tensor

from miner.fitting.capacity import TargetErrorCapacity
from miner.fitting.initialization import FreshWeights, ParentFrameWeights, SharedWeights
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid
from miner.representation.storage import Float16Storage, Int8Storage
from miner.signals.scratch import Scratch
from miner.signals.store import LocalSignalStore

CHANGES: list[dict[str, Any]] = [
    {"pyramid": GaussianPyramid(3), "weights": FreshWeights(), "blocks_per_shard": 7},
    {"pyramid": LaplacianPyramid(3), "weights": SharedWeights(), "storage": Int8Storage()},
    {"pyramid": LaplacianPyramid(2), "weights": ParentFrameWeights(), "storage": Float16Storage()},
    {"pyramid": LaplacianPyramid(2), "capacity": TargetErrorCapacity(probe_steps=1)},
]


def fit_there(signal: Tensor, store: LocalSignalStore, **changes: Any) -> list[Tensor]:
    """What a fit on the fake device stores."""
    with FakeDevice():
        return stored(fit_levels(fitter(signal, store, **changes)))


@pytest.mark.parametrize("changes", CHANGES)
def test_a_fit_elsewhere_has_the_bits_of_the_cpu(changes: dict[str, Any]) -> None:
    signal = flat_and_busy(17, 22)
    store = LocalSignalStore(FAKE, Scratch(None))
    found = fit_there(signal, store, max_steps=2, **changes)
    assert all(map(torch.equal, found, stored(fit(signal, max_steps=2, **changes))))


@pytest.mark.parametrize("held_bytes", [0, 2 * 4 * 17 * 22 + 100])
def test_signals_may_be_stored_in_scratch_or_on_the_device(held_bytes: int) -> None:
    signal, changes = flat_and_busy(17, 22), {"max_steps": 2, "pyramid": LaplacianPyramid(3)}
    store = LocalSignalStore(FAKE, Scratch(None), held_bytes, tile_side=16)
    found = fit_there(signal, store, **changes)
    assert all(map(torch.equal, found, stored(fit(signal, **changes))))


def waits(tile_side: int) -> tuple[int, int]:
    """How often the host waits while a level is scored, and while it is rendered."""
    with FakeDevice() as device:
        store = LocalSignalStore(FAKE, Scratch(None), tile_side=tile_side)
        running = fitter(noise(1, 48, 40), store, max_steps=2, pyramid=GaussianPyramid(2))
        level = running.start_level(1)
        shards = [level.fit_chunk(chunk) for chunk in range(len(level.chunks))]
        before = device.n_waits
        render(running, level, shards)
        rendered = device.n_waits
        running.start_level(0)
        return device.n_waits - rendered, rendered - before


def test_the_host_waits_as_often_however_many_tiles_there_are() -> None:
    assert waits(tile_side=8) == waits(tile_side=64) == (2, 1)
