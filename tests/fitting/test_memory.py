"""Where memory runs out, fewer blocks are fitted at once, and nothing else changes."""

import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from problems import fitter, noise
from torch import Tensor
from whole_fits import stored

from miner.fitting.backend import Backend
from miner.fitting.capacity import TargetErrorCapacity
from miner.fitting.device import BlockTooLargeError, MemoryBudget
from miner.fitting.level_fit import LevelFit
from miner.fitting.pyramid_fit import fit_pyramid
from miner.fitting.steps import BlockProblem, BlockTrainer
from miner.kernels.backend import CompiledBackend
from miner.models.network import BlockNetwork
from miner.models.parameters import Parameters
from miner.pyramids.pyramid import LaplacianPyramid
from miner.representation import Representation
from miner.representation.storage import Int8Storage

FUSED, CPU = CompiledBackend(), torch.device("cpu")


class Cramped:
    """Steps that run out of memory at the second check of too many blocks."""

    def __init__(self, inner: BlockTrainer, bears: bool) -> None:
        self._inner, self._bears = inner, bears

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def advance(self, n_steps: int) -> None:
        if not self._bears and self._inner.step > 1:
            raise torch.OutOfMemoryError
        self._inner.advance(n_steps)


@dataclass(frozen=True)
class SmallMachine(Backend):
    """The fused kernel on a machine that holds `most` blocks; `tried` are those it was given."""

    max_width: int
    tried: list[int] = field(default_factory=list, compare=False)

    def trainer(self, problem: BlockProblem) -> BlockTrainer:
        n_blocks = len(problem.targets)
        if problem.steps.n_steps:
            self.tried.append(n_blocks)
        steps = FUSED.trainer(problem)
        return Cramped(steps, bears=n_blocks <= self.max_width)  # type: ignore[return-value]

    def outputs(self, model: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
        return FUSED.outputs(model, parameters, encoded)

    def max_blocks(self, *arguments: Any) -> int:
        return FUSED.max_blocks(*arguments)


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
    found, expected = (fit(backend, **changes) for backend in (SmallMachine(most), FUSED))
    assert all(map(torch.equal, found, expected))


def test_blocks_are_halved_until_they_fit_and_stay_so() -> None:
    backend = SmallMachine(4)
    level(backend).fit_chunk(0)
    assert backend.tried == [25, 12, 6, 3, 3, 3, 3, 3, 3, 3, 3, 1]


def test_the_next_chunk_begins_with_what_fits() -> None:
    backend = SmallMachine(4)
    running = level(backend, blocks_per_shard=16)
    running.fit_chunk(0)
    backend.tried.clear()
    running.fit_chunk(1)
    assert max(backend.tried) <= 4


def test_repeated_steps_are_not_told_again() -> None:
    told: list[int] = []
    level(SmallMachine(4)).fit_chunk(0, told.append)
    assert sum(told) == 25 * 30
    assert min(told) > 0


def test_every_halving_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "miner.fitting.device"):
        level(SmallMachine(4)).fit_chunk(0)
    sizes = [record.getMessage().rpartition(" ")[2] for record in caplog.records]
    assert sizes == ["12", "6", "3"]


def test_a_block_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BlockTooLargeError, match=r"max_memory_gib=1: .* for one; .* patch_size"):
        level(SmallMachine(0), side=16).fit_chunk(0)


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
    list(MemoryBudget(CPU, 1.0).in_parts(torch.arange(4), 4, compute))
    assert not any(held)


def test_those_who_compute_together_share_the_limit() -> None:
    assert MemoryBudget(CPU, 1.0).gib(4) == 0.25


@pytest.mark.parametrize(("limit_gib", "expected"), [(4.0, 2.0), (100.0, 4.0)])
def test_a_gpu_gives_no_more_than_is_free(
    monkeypatch: pytest.MonkeyPatch, limit_gib: float, expected: float
) -> None:
    told: dict[str, Any] = {"mem_get_info": (8 * 2**30, 80 * 2**30)}
    told |= {"memory_reserved": 3 * 2**30, "memory_allocated": 2**30}  # 2 GiB are kept for later
    for name, value in told.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert MemoryBudget(torch.device("cuda"), limit_gib).gib(2) == expected


def test_a_whole_fit_with_little_memory_is_the_same() -> None:
    found, expected = (
        stored(fit_pyramid(fitter(noise(2, 29, 37), backend=backend, max_steps=12)))
        for backend in (SmallMachine(3), FUSED)
    )
    assert all(map(torch.equal, found, expected))
