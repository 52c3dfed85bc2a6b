"""A fit on another device is that of the CPU, crosses over seldom and waits seldom."""

from typing import Any

import pytest
import torch
from pretended_device import PRETENDED, PretendedDevice
from problems import fitter, noise
from whole_fits import flat_and_busy, stored

from miner.fitting.fitter import PyramidFitter, fit_pyramid
from miner.fitting.sizing import SizingByNeed
from miner.fitting.weights import FreshWeights, ParentFrameWeights, SharedWeights
from miner.pyramid import GaussianPyramid, LaplacianPyramid, RasterRoom
from miner.pyramid.room import HELD_ON_DEVICE
from miner.representation import MinerRepresentation
from miner.representation.storage import Float16Storage, Int8Storage
from miner.scratch import Scratch

CHANGES: list[dict[str, Any]] = [
    {"pyramid": GaussianPyramid(3), "weights": FreshWeights(), "chunk_size": 7},
    {"pyramid": LaplacianPyramid(3), "weights": SharedWeights(), "storage": Int8Storage()},
    {"pyramid": LaplacianPyramid(2), "weights": ParentFrameWeights(), "storage": Float16Storage()},
    {"pyramid": LaplacianPyramid(2), "sizing": SizingByNeed(pilot_steps=1)},
]


def there(template: PyramidFitter, held_bytes: int = HELD_ON_DEVICE) -> PyramidFitter:
    """The same fit on the pretended device."""
    room = RasterRoom(PRETENDED, Scratch(None), held_bytes)
    return PyramidFitter(template.signals[0], template.spec, template.settings, room)


def fit_there(template: PyramidFitter, held_bytes: int = HELD_ON_DEVICE) -> MinerRepresentation:
    with PretendedDevice():
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
    monkeypatch.setattr("miner.regions.DEVICE_TILE_SIDE", 16)
    monkeypatch.setattr("miner.fitting.patches._CELL_PIXELS", 256)
    monkeypatch.setattr("miner.fitting.patches._DEVICE_CELL_VALUES", 256)
    template = fitter(flat_and_busy(17, 22), max_steps=2, pyramid=LaplacianPyramid(3))
    found = stored(fit_there(template, held_bytes))
    assert all(map(torch.equal, found, stored(fit_pyramid(template))))


def waits(monkeypatch: pytest.MonkeyPatch, tile_side: int) -> tuple[int, int]:
    """How often the host waits while a level is scored, and while it is rendered."""
    monkeypatch.setattr("miner.regions.DEVICE_TILE_SIDE", tile_side)
    with PretendedDevice() as device:
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
