"""A signal in tile files reads like one in memory, whoever wrote the tiles."""

import errno
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from random_regions import regions

from miner.signals.regions import Region, slices, tiles
from miner.signals.signal import CPU
from miner.signals.store import SharedSignalStore

SIDES, TILE = (13, 22), 5
VALUES = torch.rand(2, *SIDES, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True, scope="module")
def no_waiting() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("miner.support.files.TIMEOUT_S", 0)
        yield


def shared(folder: Path, is_writer: bool = True) -> SharedSignalStore:
    return SharedSignalStore(CPU, folder, is_writer)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> SharedSignalStore:
    """A store in which two processes have made one signal."""
    folder = tmp_path_factory.mktemp("store")
    for rank in (0, 1):
        signal = shared(folder, rank == 0).new("signal", 2, SIDES)
        for region in list(tiles(SIDES, TILE))[rank::2]:
            signal.write(region, VALUES[(slice(None), *slices(region))])
    return shared(folder)


@given(region=regions(SIDES))
def test_any_region_reads_as_it_was_written(written: SharedSignalStore, region: Region) -> None:
    read = written.new("signal", 2, SIDES).read(region)
    assert torch.equal(read, VALUES[(slice(None), *slices(region))])


@pytest.mark.parametrize("side", [4, 9])
def test_volumes_have_one_or_more_tiles_too(tmp_path: Path, side: int) -> None:
    values = torch.rand(1, 5, 6, 7, generator=torch.Generator().manual_seed(1))
    signal = shared(tmp_path).new("volume", 1, (5, 6, 7))
    for region in tiles((5, 6, 7), side):
        signal.write(region, values[(slice(None), *slices(region))])
    assert torch.equal(signal.read(((1, 5), (3, 6), (2, 7))), values[:, 1:, 3:, 2:])


def test_the_writer_alone_removes_a_signal_and_no_other(tmp_path: Path) -> None:
    for name in ("signal_1", "signal_10"):
        shared(tmp_path).new(name, 2, SIDES).write(((0, 13), (0, 22)), VALUES)
    shared(tmp_path, is_writer=False).remove("signal_1")
    assert len(list(tmp_path.iterdir())) == 2
    shared(tmp_path).remove("signal_1")
    assert [path.name for path in tmp_path.iterdir()] == ["signal_10-0-0.tile"]


def test_tile_that_never_shows_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="all machines must share"):
        shared(tmp_path).new("signal", 2, SIDES).read(((0, 1), (0, 1)))


def test_an_error_of_the_system_keeps_its_number(tmp_path: Path) -> None:
    """A full disk is known by it; here a file may be no larger than 64 kB."""
    signal = shared(tmp_path).new("signal", 1, (256, 256))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            signal.write(((0, 256), (0, 256)), torch.zeros(1, 256, 256))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []
