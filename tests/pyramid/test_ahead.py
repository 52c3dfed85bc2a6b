"""What is read ahead is what is read one region after another."""

import threading
from collections.abc import Iterator

import pytest
import torch

from miner.pyramid import ArrayRaster, TensorRaster, read_ahead
from miner.regions import Region, tiles

REGIONS = list(tiles((20, 30), 7))


class Watched(TensorRaster):
    """Keeps how many regions were read, and fails at one of them."""

    def __init__(self, fails_at: Region | None = None) -> None:
        super().__init__(torch.rand(1, 20, 30, generator=torch.Generator().manual_seed(0)))
        self.fails_at, self.read_so_far = fails_at, 0
        self.threads: set[int] = set()

    def read(self, region: Region) -> torch.Tensor:
        if region == self.fails_at:
            raise OSError("the disk")
        self.read_so_far += 1
        self.threads.add(threading.get_ident())
        return super().read(region)


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The CPU reads ahead, too."""
    monkeypatch.setattr("miner.pyramid.ahead._READERS", {"cpu": 3})
    yield


def test_regions_come_in_order(readers: None) -> None:
    raster = Watched()
    found = list(read_ahead(raster, REGIONS))
    assert threading.get_ident() not in raster.threads
    assert all(map(torch.equal, found, map(raster.read, REGIONS)))
    assert len(found) == len(REGIONS)


def test_little_is_read_before_it_is_needed(readers: None) -> None:
    raster = Watched()
    ahead = read_ahead(raster, REGIONS)
    next(ahead)
    assert raster.read_so_far <= 4
    ahead.close()  # type: ignore[attr-defined]
    assert raster.read_so_far <= 4


def test_an_error_comes_with_its_region(readers: None) -> None:
    ahead = read_ahead(Watched(fails_at=REGIONS[2]), REGIONS)
    next(ahead)
    next(ahead)
    with pytest.raises(OSError, match="the disk"):
        next(ahead)


def test_a_cpu_reads_when_it_is_time() -> None:
    raster = Watched()
    next(read_ahead(raster, REGIONS))
    assert (raster.read_so_far, raster.threads) == (1, {threading.get_ident()})


def test_what_is_read_ahead_is_nobody_elses(readers: None) -> None:
    raster = ArrayRaster(torch.ones(1, 20, 30).numpy())
    for values in read_ahead(raster, REGIONS):
        values.zero_()
    assert all(bool(values.all()) for values in read_ahead(raster, REGIONS))
