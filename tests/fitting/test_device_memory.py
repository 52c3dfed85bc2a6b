"""Where memory runs out, fewer blocks are fitted at once, and nothing else changes."""

import logging
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from block_problems import CPU, noise, stored
from problems import fitter
from torch import Tensor
from whole_fits import Wrapped

from miner.fitting.backend import Backend
from miner.fitting.capacity import TargetErrorCapacity
from miner.fitting.device import BlockTooLargeError, ComputeDevice
from miner.fitting.level_fit import LevelFit
from miner.fitting.steps import BlockProblem, BlockTrainer
from miner.kernels.backend import CompiledBackend
from miner.pyramids.pyramid import LaplacianPyramid
from miner.representation import Representation
from miner.representation.storage import Int8Storage

COMPILED = CompiledBackend()


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


def fit(backend: Backend, **changes: Any) -> list[Tensor]:
    running = level(backend, **changes)
    return stored(Representation(running.spec, {0: [running.fit_chunk(0)]}))


@pytest.mark.parametrize("most", [1, 2, 7])
@pytest.mark.parametrize(
    "changes", [{}, {"storage": Int8Storage()}, {"capacity": TargetErrorCapacity(probe_steps=11)}]
)
def test_less_memory_gives_the_same_bits(most: int, changes: dict[str, Any]) -> None:
    found, expected = (fit(backend, **changes) for backend in (small_machine(most), COMPILED))
    assert all(map(torch.equal, found, expected))


def test_blocks_are_halved_until_they_fit_and_stay_so(caplog: pytest.LogCaptureFixture) -> None:
    tried: list[int] = []
    with caplog.at_level(logging.INFO, "miner.fitting.device"):
        level(small_machine(4, tried)).fit_chunk(0)
    sizes = [record.getMessage().rpartition(" ")[2] for record in caplog.records]
    assert sizes == ["12", "6", "3"]
    assert tried == [25, 12, 6, 3, 3, 3, 3, 3, 3, 3, 3, 1]
    running = level(small_machine(4, tried), blocks_per_shard=16)
    running.fit_chunk(0)
    tried.clear()
    running.fit_chunk(1)
    assert max(tried) <= 4


def test_repeated_steps_are_not_reported_again() -> None:
    reported: list[int] = []
    level(small_machine(4)).fit_chunk(0, reported.append)
    assert sum(reported) == 25 * 30
    assert min(reported) > 0


def test_a_block_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BlockTooLargeError, match=r"max_memory_gib=1: .* for one; .* patch_size"):
        level(small_machine(0), side=16).fit_chunk(0)


def test_what_a_failed_attempt_held_is_gone_when_the_next_begins() -> None:
    held: list[list[Tensor]] = []

    def compute(part: Tensor) -> int:
        alive = [value() for value in watched]
        held.append([value for value in alive if value is not None])
        own = torch.zeros(len(part))
        watched.append(weakref.ref(own))
        if len(part) > 1:
            raise torch.OutOfMemoryError
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
    assert ComputeDevice(torch.device("cuda"), limit_gib).memory_gib() == expected
