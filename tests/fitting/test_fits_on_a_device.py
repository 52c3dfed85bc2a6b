"""A fit on another device is that of the CPU, crosses over seldom and waits seldom."""

from typing import Any

import pytest
import torch
from fake_device import FAKE, FakeDevice
from problems import fitter, noise
from whole_fits import flat_and_busy, stored

from miner.fitting.capacity import TargetErrorCapacity
from miner.fitting.initialization import FreshWeights, ParentFrameWeights, SharedWeights
from miner.fitting.pyramid_fit import PyramidFit, fit_pyramid
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid
from miner.representation import Representation
from miner.representation.storage import Float16Storage, Int8Storage
from miner.signals.scratch import Scratch
from miner.signals.store import HELD_ON_DEVICE, LocalSignalStore

CHANGES: list[dict[str, Any]] = [
    {"pyramid": GaussianPyramid(3), "weights": FreshWeights(), "blocks_per_shard": 7},
    {"pyramid": LaplacianPyramid(3), "weights": SharedWeights(), "storage": Int8Storage()},
    {"pyramid": LaplacianPyramid(2), "weights": ParentFrameWeights(), "storage": Float16Storage()},
    {"pyramid": LaplacianPyramid(2), "capacity": TargetErrorCapacity(probe_steps=1)},
]


def there(template: PyramidFit, held_bytes: int = HELD_ON_DEVICE) -> PyramidFit:
    """The same fit on the fake device."""
    signal_store = LocalSignalStore(FAKE, Scratch(None), held_bytes)
    return PyramidFit(template.signals[0], template.spec, template.settings, signal_store)


def fit_there(template: PyramidFit, held_bytes: int = HELD_ON_DEVICE) -> Representation:
    with FakeDevice():
        return fit_pyramid(there(template, held_bytes))


@pytest.mark.parametrize("changes", CHANGES)
def test_a_fit_elsewhere_has_the_bits_of_the_cpu(changes: dict[str, Any]) -> None:
    template = fitter(flat_and_busy(17, 22), max_steps=2, **changes)
    found = stored(fit_there(template))
    assert all(map(torch.equal, found, stored(fit_pyramid(template))))


@pytest.mark.parametrize("held_bytes", [0, 2 * 4 * 17 * 22 + 100])
def test_signals_may_lie_in_scratch_or_be_held(
    monkeypatch: pytest.MonkeyPatch, held_bytes: int
) -> None:
    monkeypatch.setattr("miner.signals.regions.DEVICE_TILE_SIDE", 16)
    monkeypatch.setattr("miner.fitting.patches._CELL_PIXELS", 256)
    monkeypatch.setattr("miner.fitting.patches._DEVICE_CELL_VALUES", 256)
    template = fitter(flat_and_busy(17, 22), max_steps=2, pyramid=LaplacianPyramid(3))
    found = stored(fit_there(template, held_bytes))
    assert all(map(torch.equal, found, stored(fit_pyramid(template))))


def waits(monkeypatch: pytest.MonkeyPatch, tile_side: int) -> tuple[int, int]:
    """How often the host waits while a level is scored, and while it is rendered."""
    monkeypatch.setattr("miner.signals.regions.DEVICE_TILE_SIDE", tile_side)
    with FakeDevice() as device:
        running = there(fitter(noise(1, 48, 40), max_steps=2, pyramid=GaussianPyramid(2)))
        level = running.start_level(1)
        shards = [level.fit_chunk(chunk) for chunk in range(len(level.chunks))]
        before = device.n_waits
        running.finish_level(level, shards)
        rendered = device.n_waits
        running.start_level(0)
        return device.n_waits - rendered, rendered - before


def test_the_host_waits_as_often_however_many_tiles_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert waits(monkeypatch, tile_side=8) == waits(monkeypatch, tile_side=64) == (2, 1)
