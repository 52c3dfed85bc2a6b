"""What is read ahead is what is read one region after another."""

import threading
from collections.abc import Iterator

import pytest
import torch

from miner.signals.regions import Region, tiles
from miner.signals.signal import ArraySignal, TensorSignal, prefetch

REGIONS = list(tiles((20, 30), 7))


class Watched(TensorSignal):
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
    monkeypatch.setattr("miner.signals.signal._READERS", {"cpu": 3})
    yield


def test_regions_come_in_order(readers: None) -> None:
    image_signal = Watched()
    found = list(prefetch(image_signal, REGIONS))
    assert threading.get_ident() not in image_signal.threads
    assert all(map(torch.equal, found, map(image_signal.read, REGIONS)))
    assert len(found) == len(REGIONS)


def test_little_is_read_before_it_is_needed(readers: None) -> None:
    image_signal = Watched()
    ahead = prefetch(image_signal, REGIONS)
    next(ahead)
    assert image_signal.read_so_far <= 4
    ahead.close()  # type: ignore[attr-defined]
    assert image_signal.read_so_far <= 4


def test_an_error_comes_with_its_region(readers: None) -> None:
    ahead = prefetch(Watched(fails_at=REGIONS[2]), REGIONS)
    next(ahead)
    next(ahead)
    with pytest.raises(OSError, match="the disk"):
        next(ahead)


def test_a_cpu_reads_when_it_is_time() -> None:
    image_signal = Watched()
    next(prefetch(image_signal, REGIONS))
    assert (image_signal.read_so_far, image_signal.threads) == (1, {threading.get_ident()})


def test_what_is_read_ahead_is_nobody_elses(readers: None) -> None:
    image_signal = ArraySignal(torch.ones(1, 20, 30).numpy())
    for values in prefetch(image_signal, REGIONS):
        values.zero_()
    assert all(bool(values.all()) for values in prefetch(image_signal, REGIONS))
