"""Fits on any device have the same bits: with little memory, in threads, and waiting seldom."""

import logging
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from block_problems import CPU, fit_levels, flat_and_busy, noise, render, stored
from fake_device import FAKE, FakeDevice
from problems import Wrapped, fit, fitter, masked_on_the_right
from torch import Tensor

from miner.fitting.backend import Backend
from miner.fitting.capacity import TargetErrorCapacity
from miner.fitting.device import Checks, ComputeDevice
from miner.fitting.initialization import FreshWeights, ParentFrameWeights, SharedWeights
from miner.fitting.level_fit import LevelFit
from miner.fitting.steps import BlockProblem, BlockTrainer
from miner.kernels.backend import CompiledBackend
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid
from miner.representation import Representation
from miner.representation.storage import Float16Storage, Int8Storage
from miner.signals.scratch import Scratch
from miner.signals.store import LocalSignalStore
from miner.support.errors import ConfigError

COMPILED, GPU = CompiledBackend(), torch.device("cuda")


class Cramped:
    """A trainer that runs out of memory after its first check."""

    def __init__(self, inner: BlockTrainer) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def advance(self, n_steps: int) -> None:
        if self._inner.step > 1:
            raise torch.OutOfMemoryError
        self._inner.advance(n_steps)


def small_machine(most: int, tried: list[int] | None = None) -> Backend:
    """The compiled backend with memory for `most` blocks; `tried` gets the sizes of batches."""

    def wrap(trainer: BlockTrainer, problem: BlockProblem) -> Any:
        n_blocks = len(problem.targets)
        if problem.steps.n_steps and tried is not None:
            tried.append(n_blocks)
        return trainer if n_blocks <= most else Cramped(trainer)

    return Wrapped(COMPILED, wrap)


def level(backend: Backend, side: int = 40, **changes: Any) -> LevelFit:
    """A level of 8 x 8 patches, all of which are fitted."""
    signal = noise(1, side, side)
    given = {"pyramid": LaplacianPyramid(1), "max_steps": 30, "backend": backend} | changes
    return fitter(signal, **given).start_level(0)


def fit_with(backend: Backend, **changes: Any) -> list[Tensor]:
    running = level(backend, **changes)
    return stored(Representation(running.spec, {0: [running.fit_chunk(0)]}))


@pytest.mark.parametrize("most", [1, pytest.param(2, marks=pytest.mark.slow), 7])
@pytest.mark.parametrize(
    "changes", [{}, {"storage": Int8Storage()}, {"capacity": TargetErrorCapacity(probe_steps=11)}]
)
def test_less_memory_gives_the_same_bits(most: int, changes: dict[str, Any]) -> None:
    found, expected = (fit_with(backend, **changes) for backend in (small_machine(most), COMPILED))
    assert all(map(torch.equal, found, expected))


def test_blocks_are_halved_until_they_fit_and_stay_so(caplog: pytest.LogCaptureFixture) -> None:
    tried: list[int] = []
    with caplog.at_level(logging.INFO, "miner.fitting.device"):
        level(small_machine(4, tried)).fit_chunk(0)
    sizes = [record.getMessage().rpartition(" ")[2] for record in caplog.records]
    assert sizes == ["12", "6", "3"]
    assert tried == [2, 25, 12, 6, 3, 3, 3, 3, 3, 3, 3, 3, 1]  # two before the fit
    running = level(small_machine(4, tried), blocks_per_shard=16)
    running.fit_chunk(0)
    tried.clear()
    running.fit_chunk(1)
    assert max(tried) <= 4


def test_a_block_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"max_memory_gib=1: .* for one; .* patch_size"):
        level(small_machine(0), side=16).fit_chunk(0)


def test_what_a_failed_attempt_held_is_gone_when_the_next_begins() -> None:
    held: list[list[Tensor]] = []

    def compute(part: Tensor) -> Checks[int]:
        alive = [value() for value in watched]
        held.append([value for value in alive if value is not None])
        own = torch.zeros(len(part))
        watched.append(weakref.ref(own))
        if len(part) > 1:
            raise torch.OutOfMemoryError
        yield
        return len(part)

    watched: list[Callable[[], Tensor | None]] = []
    list(ComputeDevice(CPU, 1.0).in_batches(torch.arange(4), 4, compute))
    assert not any(held)


@pytest.mark.parametrize(("limit_gib", "expected"), [(4.0, 4.0), (100.0, 8.0)])
def test_a_gpu_gives_no_more_than_is_free(
    monkeypatch: pytest.MonkeyPatch, limit_gib: float, expected: float
) -> None:
    state: dict[str, Any] = {"mem_get_info": (8 * 2**30, 80 * 2**30)}
    state |= {"memory_reserved": 3 * 2**30, "memory_allocated": 2**30}  # 2 GiB are kept for later
    for name, value in state.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert ComputeDevice(GPU, limit_gib).memory_gib() == expected


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
    changes = {"backend": COMPILED, "capacity": capacity, "weights": SharedWeights()}
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


CHANGES: list[dict[str, Any]] = [
    {"pyramid": GaussianPyramid(3), "weights": FreshWeights(), "blocks_per_shard": 7},
    {"pyramid": LaplacianPyramid(3), "weights": SharedWeights(), "storage": Int8Storage()},
    {"pyramid": LaplacianPyramid(2), "weights": ParentFrameWeights(), "storage": Float16Storage()},
    {"pyramid": LaplacianPyramid(2), "capacity": TargetErrorCapacity(probe_steps=1)},
    {"pyramid": GaussianPyramid(2), "mask": masked_on_the_right(17, 22)},
]


def fit_there(signal: Tensor, store: LocalSignalStore, **changes: Any) -> list[Tensor]:
    """What a fit on the fake device stores."""
    with FakeDevice():
        return stored(fit_levels(fitter(signal, store, **changes)))


@pytest.mark.parametrize("changes", CHANGES)
def test_a_fit_elsewhere_has_the_bits_of_the_cpu(changes: dict[str, Any]) -> None:
    signal = flat_and_busy(17, 22)
    store = LocalSignalStore(FAKE, Scratch(None))
    found = fit_there(signal, store, max_steps=2, **changes)
    assert all(map(torch.equal, found, stored(fit(signal, max_steps=2, **changes))))


@pytest.mark.parametrize("held_bytes", [0, 2 * 4 * 17 * 22 + 100])
def test_signals_may_be_stored_in_scratch_or_on_the_device(held_bytes: int) -> None:
    signal, changes = flat_and_busy(17, 22), {"max_steps": 2, "pyramid": LaplacianPyramid(3)}
    store = LocalSignalStore(FAKE, Scratch(None), held_bytes, tile_side=16)
    found = fit_there(signal, store, **changes)
    assert all(map(torch.equal, found, stored(fit(signal, **changes))))


def waits(tile_side: int) -> tuple[int, int]:
    """How often the host waits while a level is scored, and while it is rendered."""
    with FakeDevice() as device:
        store = LocalSignalStore(FAKE, Scratch(None), tile_side=tile_side)
        running = fitter(noise(1, 48, 40), store, max_steps=2, pyramid=GaussianPyramid(2))
        level = running.start_level(1)
        shards = [level.fit_chunk(chunk) for chunk in range(len(level.chunks))]
        before = device.n_waits
        render(running, level, shards)
        rendered = device.n_waits
        running.start_level(0)
        return device.n_waits - rendered, rendered - before


def test_the_host_waits_as_often_however_many_tiles_there_are() -> None:
    assert waits(tile_side=8) == waits(tile_side=64) == (2, 0)
