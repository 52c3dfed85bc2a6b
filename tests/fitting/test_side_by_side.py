"""Groups in threads of their own give what they give one after another."""

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from problems import fitter
from whole_fits import flat_and_busy, stored

from miner.fitting.capacity import TargetErrorCapacity
from miner.fitting.device import map_side_by_side, n_side_by_side, one_at_a_time
from miner.fitting.initialization import SharedWeights
from miner.kernels.backend import CompiledBackend
from miner.representation import Representation

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Threads without a GPU: what is asked of streams, and the CPU's groups in threads, too."""
    asked: list[str] = []
    stream = SimpleNamespace(synchronize=lambda: asked.append("stream"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: asked.append("device"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda one: nullcontext())
    for module in ("device", "level_fit"):
        monkeypatch.setattr(f"miner.fitting.{module}.n_side_by_side", lambda device, n: min(n, 3))
    yield asked


def test_results_come_in_order(streams: list[str]) -> None:
    assert map_side_by_side(GPU, lambda n: n * n, range(9)) == [n * n for n in range(9)]
    assert streams == ["device"] + 9 * ["stream"]


def test_items_run_at_the_same_time(streams: list[str]) -> None:
    barrier = threading.Barrier(3, timeout=10)
    assert len(map_side_by_side(GPU, lambda n: barrier.wait(), range(3))) == 3


def test_an_error_is_raised_and_ends_the_rest(streams: list[str]) -> None:
    begun: list[int] = []

    def fails(n: int) -> None:
        begun.append(n)
        raise ValueError(f"item {n}")

    with pytest.raises(ValueError, match="item 0"):
        map_side_by_side(GPU, fails, range(1000))
    assert len(begun) < 1000


def fitted_levels(told: Callable[[int], None]) -> list[torch.Tensor]:
    """A fit of two levels with several widths; threads where there are streams."""
    capacity = TargetErrorCapacity(probe_steps=5, features_per_db=4.4)
    changes = {"backend": CompiledBackend(), "capacity": capacity, "weights": SharedWeights()}
    running = fitter(flat_and_busy(40, 56), **changes)
    shards = {}
    for level in (1, 0):
        part = running.start_level(level)
        shards[level] = [part.fit_chunk(0, told)]
        running.finish_level(part, shards[level])
    return stored(Representation(running.spec, shards))


def test_a_fit_in_threads_has_the_bits_of_one_without(request: pytest.FixtureRequest) -> None:
    in_sequence: list[int] = []
    in_threads: list[int] = []
    expected = fitted_levels(in_sequence.append)
    streams = request.getfixturevalue("streams")
    assert all(map(torch.equal, fitted_levels(in_threads.append), expected))
    assert sum(in_threads) == sum(in_sequence) > 0
    assert len(streams) > 4


def test_a_cpu_works_on_one_group_after_another() -> None:
    assert n_side_by_side(CPU, 20) == 1
    threads = map_side_by_side(CPU, lambda n: threading.get_ident(), range(3))
    assert set(threads) == {threading.get_ident()}


@pytest.mark.parametrize(("n_groups", "expected"), [(1, 1), (3, 3), (20, 8)])
def test_a_gpu_works_on_several(n_groups: int, expected: int) -> None:
    assert n_side_by_side(GPU, n_groups) == expected


def test_what_is_called_from_many_threads_runs_once_at_a_time() -> None:
    inside: list[int] = []

    def called(n: int) -> None:
        inside.append(n)
        assert len(inside) == 1
        threading.Event().wait(0.001)
        inside.clear()

    alone = one_at_a_time(called)
    threads = [threading.Thread(target=alone, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not inside
