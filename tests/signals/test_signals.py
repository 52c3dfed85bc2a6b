"""Signals read in parts, or in advance, are the signals read whole; on a device as on the CPU."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fake_device import FAKE, FakeDevice, values
from hypothesis import given
from hypothesis import strategies as st
from random_regions import regions
from torch import Tensor

from miner.signals.grid import PatchGrid
from miner.signals.regions import Region, sides_of, slices, tiles, whole
from miner.signals.scratch import Scratch
from miner.signals.signal import CPU, ArraySignal, Signal, SourceSignal, prefetch
from miner.signals.store import LocalSignalStore

GRID = PatchGrid((21, 34), 8)
BLOCKS = torch.tensor([3, 0, 14])
REGION = ((3, 17), (8, 33))
OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tiled": GRID.tiled,
    "joined": lambda signal: GRID.joined(GRID.tiled(signal)),
    "cut": lambda signal: GRID.cut(signal, BLOCKS),
    "no cut": lambda signal: GRID.cut(signal, BLOCKS[:0]),
    "block_means": GRID.block_means,
}


def noise() -> Tensor:
    return torch.rand(2, 21, 34, generator=torch.Generator().manual_seed(0))


@given(st.data(), st.sampled_from([(1, 1), (7, 12), (3, 5, 4)]))
def test_a_region_that_is_written_is_read(data: st.DataObject, sides: tuple[int, ...]) -> None:
    signal, region = ArraySignal(torch.zeros(1, *sides).numpy()), data.draw(regions(sides))
    signal.write(region, torch.full((1, *sides_of(region)), 7.0))
    expected = torch.zeros(1, *sides)
    expected[(slice(None), *slices(region))] = 7
    assert torch.equal(signal.read(whole(sides)), expected)
    assert bool((signal.read(region) == 7).all())


@pytest.mark.parametrize(
    "signal", [ArraySignal(torch.ones(1, 4, 4)), ArraySignal(torch.ones(1, 4, 4).numpy())]
)
def test_values_are_read_as_a_copy(signal: Signal) -> None:
    signal.read(((0, 4), (0, 4))).zero_()
    assert bool(signal.read(((0, 4), (0, 4))).all())


def test_the_fake_device_notices_mixed_devices_and_waits() -> None:
    with FakeDevice() as device:
        there = noise().to(FAKE)
        for mixed in (lambda: there + noise(), lambda: there[:, BLOCKS]):
            with pytest.raises(RuntimeError, match="two devices"):
                mixed()
        assert device.n_waits == 0
        for wait in (there.cpu, lambda: float(there.sum()), lambda: there[there > 0.5]):
            before = device.n_waits
            wait()
            assert device.n_waits > before


@pytest.mark.parametrize("name", OPERATIONS)
def test_patches_stay_on_their_device(name: str) -> None:
    expected = OPERATIONS[name](noise())
    with FakeDevice() as device:
        found = OPERATIONS[name](noise().to(FAKE))
    assert torch.equal(values(found), expected)
    assert device.n_waits == 0


@pytest.mark.parametrize("held_bytes", [0, 2**20])
def test_what_is_written_on_the_device_is_read_there(held_bytes: int) -> None:
    with FakeDevice():
        store = LocalSignalStore(FAKE, Scratch(None), held_bytes)
        signal = store.new("one", 2, (21, 34))
        signal.write(whole((21, 34)), noise().to(FAKE))
        found = signal.read(REGION)
    assert torch.equal(values(found), noise()[(slice(None), *slices(REGION))])


def test_signals_are_held_while_they_fit(tmp_path: Path) -> None:
    def held(*names: str) -> list[bool]:
        for name in names:
            store.new(name, 1, (5, 5))  # of 100 bytes each
        return [not (tmp_path / f"{name}.npy").exists() for name in names]

    with FakeDevice():
        store = LocalSignalStore(FAKE, Scratch(tmp_path), held_bytes=250)
        assert held("a", "b", "c") == [True, True, False]
        store.remove("c")  # which is not on the device
        assert held("d") == [False]
        store.remove("a")
        assert held("e", "f") == [True, False]
    store = LocalSignalStore(CPU, Scratch(tmp_path))
    assert held("g") == [False]


@pytest.mark.parametrize(("held_bytes", "kind"), [(0, SourceSignal), (2**20, ArraySignal)])
def test_an_image_is_copied_to_the_device_if_it_fits(held_bytes: int, kind: type) -> None:
    image = ArraySignal(noise().numpy())
    with FakeDevice():
        signal = LocalSignalStore(FAKE, Scratch(None), held_bytes).to_device("image", image)
        found = signal.read(REGION)
    assert isinstance(signal, kind)
    assert torch.equal(values(found), image.read(REGION))
    assert LocalSignalStore(CPU, Scratch(None)).to_device("image", image) is image


REGIONS = list(tiles((21, 34), 7))


class Watched(Signal):
    """Counts the regions that were read as if for a device, and fails at one of them."""

    def __init__(self, device: str = "cuda", fails_at: Region | None = None) -> None:
        self.values = ArraySignal(noise())
        super().__init__(self.values.n_channels, self.values.sides, torch.device(device))
        self.fails_at, self.n_read = fails_at, 0
        self.threads: set[int] = set()

    def read(self, region: Region) -> torch.Tensor:
        if region == self.fails_at:
            raise OSError("the disk")
        self.n_read += 1
        self.threads.add(threading.get_ident())
        return self.values.read(region)


def test_regions_come_in_order() -> None:
    signal = Watched()
    found = list(prefetch(signal, REGIONS))
    assert threading.get_ident() not in signal.threads
    assert len(found) == len(REGIONS)
    assert all(map(torch.equal, found, map(signal.read, REGIONS)))


def test_few_regions_are_read_in_advance() -> None:
    signal = Watched()
    values = prefetch(signal, REGIONS)
    next(values)
    assert signal.n_read <= 5
    values.close()  # type: ignore[attr-defined]
    assert signal.n_read <= 5


def test_an_error_comes_with_its_region() -> None:
    values = prefetch(Watched(fails_at=REGIONS[2]), REGIONS)
    next(values)
    next(values)
    with pytest.raises(OSError, match="the disk"):
        next(values)


def test_on_the_cpu_nothing_is_prefetched() -> None:
    signal = Watched("cpu")
    next(prefetch(signal, REGIONS))
    assert (signal.n_read, signal.threads) == (1, {threading.get_ident()})
