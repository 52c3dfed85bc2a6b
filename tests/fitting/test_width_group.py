"""Blocks of a group that diverged are fitted again, alone; what is not finite is not stored."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from block_problems import CPU, smooth
from problems import SETTINGS, Wrapped

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.block_fit import BlockFit
from miner.fitting.chunk import WidthGroup
from miner.fitting.device import ComputeDevice, run_fit
from miner.fitting.patches import Patches
from miner.fitting.pyramid_fit import make_spec
from miner.fitting.readout import ClosedFormReadout, LearnedReadout, Readout
from miner.fitting.settings import LevelContext
from miner.fitting.steps import BlockProblem, BlockTrainer
from miner.images.pixel_format import PixelFormat
from miner.kernels.backend import CompiledBackend
from miner.models.activations import Siren
from miner.pyramids.pyramid import GaussianPyramid
from miner.representation.rendering import ShardIndex
from miner.representation.storage import Float16Storage, Float32Storage, Int8Storage, Storage

HIGH = [(ClosedFormReadout(), 0.2), (LearnedReadout(), 5.0)]  # rates of which a tenth is well
READOUTS = [readout for readout, _ in HIGH]
BACKENDS = [EagerBackend(), CompiledBackend()]
WILD = 100.0  # a rate of which a tenth is too high, too
NETWORK = {"model": replace(SETTINGS.model, activation=Siren(7.0)), "width": 12}


def patches(scale: float = 1.0) -> Patches:
    """Six patches of a smooth picture, nothing predicted."""
    whole = scale * smooth(8, 48).unfold(2, 8, 8).permute(2, 0, 1, 3).contiguous()
    bounds = torch.full((6,), SETTINGS.max_mse, dtype=torch.float64)
    sizes = torch.full((6, 2), 8)
    return Patches(torch.arange(6), whole, torch.zeros_like(whole), sizes, bounds)


def group(given: Patches, lr: float = 2e-2, **changes: Any) -> WidthGroup:
    changes |= NETWORK | {"pyramid": GaussianPyramid(1), "max_steps": 30}
    settings = replace(SETTINGS, optimizer=partial(torch.optim.Adam, lr=lr), **changes)
    spec = make_spec((8, 48), PixelFormat.of_values("float32", 2), settings)
    compute, parents = ComputeDevice(CPU, 1.0), ShardIndex(spec.grid(0), [])
    context = LevelContext(spec, settings, 0, compute, parents)
    return WidthGroup(context, settings.width, given)


def fit(given: Patches, lr: float = 2e-2, **changes: Any) -> BlockFit:
    return run_fit(group(given, lr, **changes).fit())


def recorded(inner: Backend, problems: list[BlockProblem]) -> Backend:
    """A backend that keeps what its trainers take."""

    def wrap(trainer: BlockTrainer, problem: BlockProblem) -> BlockTrainer:
        problems.append(problem)
        return trainer

    return Wrapped(inner, wrap)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("readout", "lr"), HIGH)
def test_blocks_that_diverge_are_saved_by_a_tenth_of_the_rate(
    readout: Readout, lr: float, backend: Backend
) -> None:
    found = fit(patches(), lr, readout=readout, backend=backend)
    at_start = fit(patches(), 1e-9, readout=readout, backend=backend).mse
    assert bool(found.diverged.all())
    assert not found.diverged_again.any()
    assert bool((found.mse < 0.9 * at_start).all())


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_blocks_that_diverged_are_fitted_again(backend: Backend) -> None:
    given = patches()
    given.signal[2, 0, 0, 0] = torch.nan
    problems: list[BlockProblem] = []
    fit(given, backend=recorded(backend, problems))
    assert [(one.steps.rate, len(one.targets)) for one in problems] == [(1.0, 6), (0.1, 1)]


@pytest.mark.parametrize("readout", READOUTS)
def test_the_second_fit_starts_from_the_best_state(readout: Readout) -> None:
    problems: list[BlockProblem] = []
    fit(patches(), WILD, readout=readout, backend=recorded(CompiledBackend(), problems))
    first, second = (one.start for one in problems)
    assert first.keys() == second.keys()  # which is where the first fit began
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("storage", [Float32Storage(), Float16Storage(), Int8Storage()])
def test_a_block_without_numbers_has_an_infinite_error(storage: Storage) -> None:
    given = patches()
    given.signal[2] = torch.nan
    found = fit(given, storage=storage)
    assert found.mse.isinf().tolist() == found.diverged_again.tolist() == [n == 2 for n in range(6)]


@pytest.mark.parametrize(("storage", "scale"), [(Float16Storage(), 1e6), (Int8Storage(), 1e9)])
def test_numbers_that_storage_cannot_hold_are_not_stored(storage: Storage, scale: float) -> None:
    given = patches()
    given.signal[2] *= scale
    found = fit(given, storage=storage)
    assert found.mse.isinf().tolist() == [n == 2 for n in range(6)]
    kept = found.mse.isfinite()
    assert all(bool(tensor[kept].isfinite().all()) for tensor in found.parameters.values())


@pytest.mark.parametrize("storage", [Float32Storage(), Float16Storage(), Int8Storage()])
@pytest.mark.parametrize("readout", READOUTS)
def test_a_rate_that_is_too_high_keeps_what_there_was(readout: Readout, storage: Storage) -> None:
    found, still = (
        fit(patches(), lr, readout=readout, storage=storage, backend=CompiledBackend())
        for lr in (WILD, 1e-9)
    )
    assert bool(found.diverged_again.all())
    torch.testing.assert_close(found.mse, still.mse, rtol=1e-3, atol=0)


def test_steps_of_a_second_fit_are_not_counted_again() -> None:
    reported: list[int] = []
    run_fit(group(patches(), WILD, backend=CompiledBackend()).fit(reported.append))
    assert sum(reported) == 6 * 30


def test_a_diverging_probe_fit_is_repeated_too() -> None:
    found, at_start = (
        group(patches(), lr, backend=CompiledBackend()).errors_after(20) for lr in (0.2, 1e-9)
    )
    assert bool((found < 0.9 * at_start).all())
