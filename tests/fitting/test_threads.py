"""Width groups in threads of their own give what they give one after another."""

import threading
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from block_problems import CPU, stored
from level_loop import render
from problems import fitter
from whole_fits import flat_and_busy

from miner.fitting.capacity import TargetErrorCapacity
from miner.fitting.device import ComputeDevice
from miner.fitting.initialization import SharedWeights
from miner.kernels.backend import CompiledBackend
from miner.representation import Representation

GPU = torch.device("cuda")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Streams without a GPU: what was synchronised."""
    calls: list[str] = []
    stream = SimpleNamespace(synchronize=lambda: calls.append("stream"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append("device"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda one: nullcontext())
    return calls


def test_results_come_in_order(calls: list[str]) -> None:
    assert ComputeDevice(GPU, 1.0).map(lambda n: n * n, range(9)) == [n * n for n in range(9)]
    assert calls == ["device"] + 9 * ["stream"]


@pytest.mark.parametrize(("n_threads", "n_at_once"), [(None, 8), (2, 2)])
def test_a_gpu_computes_several_items_at_the_same_time(
    calls: list[str], n_threads: int | None, n_at_once: int
) -> None:
    barrier = threading.Barrier(n_at_once, timeout=10)
    threads = ComputeDevice(GPU, 1.0, n_threads).map(
        lambda n: (barrier.wait(), threading.get_ident())[1], range(2 * n_at_once)
    )
    assert len(set(threads)) == n_at_once


@pytest.mark.parametrize(("n_items", "n_threads"), [(1, 1), (3, 3), (20, 4)])
def test_items_at_the_same_time_share_the_memory(
    calls: list[str], n_items: int, n_threads: int
) -> None:
    compute = ComputeDevice(CPU, 1.0, n_threads=4)
    shares = compute.map(lambda n: compute.memory_gib(), range(n_items))
    assert shares == n_items * [1 / n_threads]
    assert compute.memory_gib() == 1.0


def test_an_error_is_raised_and_ends_the_rest(calls: list[str]) -> None:
    begun: list[int] = []

    def fails(n: int) -> None:
        begun.append(n)
        if n == 0:
            raise ValueError("item 0")
        time.sleep(0.01)  # else all might end before the rest is cancelled

    with pytest.raises(ValueError, match="item 0"):
        ComputeDevice(GPU, 1.0).map(fails, range(1000))
    assert len(begun) < 1000


def test_a_cpu_computes_one_item_after_another() -> None:
    threads = ComputeDevice(CPU, 1.0).map(lambda n: threading.get_ident(), range(3))
    assert set(threads) == {threading.get_ident()}


def fitted_levels(n_threads: int) -> tuple[list[torch.Tensor], int]:
    """What a fit of two levels with several widths stores, and the block steps it reported."""
    capacity = TargetErrorCapacity(probe_steps=5, features_per_db=4.4)
    changes = {"backend": CompiledBackend(), "capacity": capacity, "weights": SharedWeights()}
    running = fitter(flat_and_busy(40, 56), n_threads=n_threads, **changes)
    shards, reported = {}, []
    for level in (1, 0):
        part = running.start_level(level)
        shards[level] = [part.fit_chunk(0, reported.append)]
        render(running, part, shards[level])
    return stored(Representation(running.spec, shards)), sum(reported)


def test_a_fit_in_threads_has_the_bits_of_one_without(calls: list[str]) -> None:
    (expected, n_expected), (found, n_found) = (fitted_levels(n) for n in (1, 3))
    assert all(map(torch.equal, found, expected))
    assert n_found == n_expected > 0
    assert len(calls) > 4
