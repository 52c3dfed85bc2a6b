"""Prefetching gives what reading one region after another gives."""

import threading

import pytest
import torch

from miner.signals.regions import Region, tiles
from miner.signals.signal import ArraySignal, prefetch

REGIONS = list(tiles((20, 30), 7))


class Watched(ArraySignal):
    """Counts the regions that were read, and fails at one of them."""

    def __init__(self, fails_at: Region | None = None) -> None:
        super().__init__(torch.rand(1, 20, 30, generator=torch.Generator().manual_seed(0)))
        self.fails_at, self.n_read = fails_at, 0
        self.threads: set[int] = set()

    def read(self, region: Region) -> torch.Tensor:
        if region == self.fails_at:
            raise OSError("the disk")
        self.n_read += 1
        self.threads.add(threading.get_ident())
        return super().read(region)


def test_regions_come_in_order() -> None:
    signal = Watched()
    found = list(prefetch(signal, REGIONS, 3))
    assert threading.get_ident() not in signal.threads
    assert len(found) == len(REGIONS)
    assert all(map(torch.equal, found, map(signal.read, REGIONS)))


def test_few_regions_are_read_in_advance() -> None:
    signal = Watched()
    values = prefetch(signal, REGIONS, 3)
    next(values)
    assert signal.n_read <= 4
    values.close()  # type: ignore[attr-defined]
    assert signal.n_read <= 4


def test_an_error_comes_with_its_region() -> None:
    values = prefetch(Watched(fails_at=REGIONS[2]), REGIONS, 3)
    next(values)
    next(values)
    with pytest.raises(OSError, match="the disk"):
        next(values)


def test_on_the_cpu_nothing_is_prefetched() -> None:
    signal = Watched()
    next(prefetch(signal, REGIONS))
    assert (signal.n_read, signal.threads) == (1, {threading.get_ident()})
