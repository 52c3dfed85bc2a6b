"""A signal in tile files reads like one in memory, whoever wrote the tiles."""

import errno
import resource
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miner.signals.regions import Region, slices, tiles
from miner.signals.store import SharedSignalStore

CPU = torch.device("cpu")
SIDES, TILE = (13, 22), 5
VALUES = torch.rand(2, *SIDES, generator=torch.Generator().manual_seed(0))


def signal_store(folder: Path, is_keeper: bool = True) -> SharedSignalStore:
    return SharedSignalStore(CPU, folder, is_keeper)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> SharedSignalStore:
    """A room in which two processes have made one signal."""
    folder = tmp_path_factory.mktemp("room")
    for rank in (0, 1):
        image_signal = signal_store(folder, rank == 0).new("signal", 2, SIDES)
        for region in list(tiles(SIDES, TILE))[rank::2]:
            image_signal.write(region, VALUES[(slice(None), *slices(region))])
    return signal_store(folder)


@st.composite
def regions(draw: st.DrawFn) -> Region:
    firsts = [draw(st.integers(0, side - 1)) for side in SIDES]
    return tuple(
        (first, draw(st.integers(first + 1, side)))
        for first, side in zip(firsts, SIDES, strict=True)
    )


@given(region=regions())
def test_any_region_reads_as_it_was_written(written: SharedSignalStore, region: Region) -> None:
    read = written.new("signal", 2, SIDES).read(region)
    assert torch.equal(read, VALUES[(slice(None), *slices(region))])


def test_signal_of_one_tile_is_read(tmp_path: Path) -> None:
    image_signal = signal_store(tmp_path).new("signal_1", 2, SIDES)
    image_signal.write(((0, 13), (0, 22)), VALUES)
    assert torch.equal(image_signal.read(((3, 13), (0, 1))), VALUES[:, 3:, :1])


def test_volumes_have_tiles_too(tmp_path: Path) -> None:
    values = torch.rand(1, 5, 6, 7, generator=torch.Generator().manual_seed(1))
    image_signal = signal_store(tmp_path).new("volume", 1, (5, 6, 7))
    for region in tiles((5, 6, 7), 4):
        image_signal.write(region, values[(slice(None), *slices(region))])
    assert torch.equal(image_signal.read(((1, 5), (3, 6), (2, 7))), values[:, 1:, 3:, 2:])


def test_the_keeper_alone_removes_a_signal_and_no_other(tmp_path: Path) -> None:
    for name in ("signal_1", "signal_10"):
        signal_store(tmp_path).new(name, 2, SIDES).write(((0, 13), (0, 22)), VALUES)
    signal_store(tmp_path, is_keeper=False).remove("signal_1")
    assert len(list(tmp_path.iterdir())) == 2
    signal_store(tmp_path).remove("signal_1")
    assert [path.name for path in tmp_path.iterdir()] == ["signal_10-0-0.tile"]


def test_tile_that_never_shows_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miner.support.files.LATE_S", 0.0)
    with pytest.raises(FileNotFoundError, match="all machines must share"):
        signal_store(tmp_path).new("signal", 2, SIDES).read(((0, 1), (0, 1)))


def test_what_the_system_refuses_has_its_number(tmp_path: Path) -> None:
    """A full disk is known by it; here a file may be no larger than 64 kB."""
    image_signal = signal_store(tmp_path).new("signal", 1, (256, 256))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            image_signal.write(((0, 256), (0, 256)), torch.zeros(1, 256, 256))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []
