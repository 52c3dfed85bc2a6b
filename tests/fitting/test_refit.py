"""Blocks of a group that diverged are fitted again, alone; what is not finite is not stored."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
import torch
from problems import SETTINGS
from torch import Tensor
from whole_fits import smooth

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.best_state import GroupFit
from miner.fitting.device import MemoryBudget
from miner.fitting.initialization import InitialState, generator
from miner.fitting.pyramid_fit import make_spec
from miner.fitting.readout import ClosedFormReadout, LearnedReadout, Readout
from miner.fitting.steps import BlockProblem, BlockTrainer
from miner.fitting.width_group import GroupFitter, Patches
from miner.images import PixelFormat
from miner.kernels.backend import CompiledBackend
from miner.models.activations import Siren
from miner.models.network import BlockNetwork
from miner.models.parameters import Parameters, repeat, select
from miner.pyramids.pyramid import GaussianPyramid
from miner.representation.storage import Float16Storage, Float32Storage, Int8Storage, Storage

HIGH = [(ClosedFormReadout(), 0.2), (LearnedReadout(), 5.0)]  # rates of which a tenth is well
READOUTS = [readout for readout, _ in HIGH]
KERNELS = [EagerBackend(), CompiledBackend()]
WILD = 100.0  # a rate of which a tenth is too high, too
NETWORK = {"activation": Siren(7.0), "width": 12}


def patches(scale: float = 1.0) -> Patches:
    """Six patches of a smooth picture, nothing predicted."""
    whole = scale * smooth(8, 48).unfold(2, 8, 8).permute(2, 0, 1, 3).contiguous()
    return Patches(whole, torch.zeros_like(whole), torch.full((6, 2), 8))


def group_fitter(**changes: Any) -> GroupFitter:
    settings = replace(SETTINGS, **NETWORK, pyramid=GaussianPyramid(1), max_steps=30, **changes)
    spec = make_spec((8, 48), PixelFormat.of_values("float32", 2), settings)
    memory = MemoryBudget(torch.device("cpu"), settings.max_memory_gib)
    return GroupFitter(spec, settings, settings.backend, 0, settings.width, memory)


def start(fitter: GroupFitter, n_blocks: int = 6) -> InitialState:
    hidden = repeat(fitter.model.mlp.draw(generator(0, 0)), n_blocks)
    return InitialState(
        hidden, torch.zeros(n_blocks, 3, dtype=torch.long), torch.ones(n_blocks).bool()
    )


def fit(given: Patches, lr: float = 2e-2, **changes: Any) -> GroupFit:
    fitter = group_fitter(optimizer=partial(torch.optim.Adam, lr=lr), **changes)
    return fitter.fit(given, start(fitter, len(given.signal)))


@dataclass(frozen=True)
class Recorded(Backend):
    """Another kernel, and which blocks it was given at which rate."""

    inner: Backend
    fits: list[tuple[float, int, Parameters]] = field(default_factory=list)

    def trainer(self, problem: BlockProblem) -> BlockTrainer:
        self.fits.append((problem.steps.rate, len(problem.targets), problem.start))
        return self.inner.trainer(problem)

    def outputs(self, model: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
        return self.inner.outputs(model, parameters, encoded)

    def max_blocks(self, *arguments: Any) -> int:
        return self.inner.max_blocks(*arguments)


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize(("readout", "lr"), HIGH)
def test_blocks_that_diverge_are_saved_by_a_tenth_of_the_rate(
    readout: Readout, lr: float, backend: Backend
) -> None:
    found = fit(patches(), lr, readout=readout, backend=backend)
    at_start = fit(patches(), 1e-9, readout=readout, backend=backend).mse
    assert bool(found.diverged.all())
    assert not found.diverged_again.any()
    assert bool((found.mse < 0.9 * at_start).all())


@pytest.mark.parametrize("backend", KERNELS)
def test_only_the_blocks_that_diverged_are_fitted_again(backend: Backend) -> None:
    given = patches()
    given.signal[2, 0, 0, 0] = torch.nan
    recorded = Recorded(backend)
    fit(given, backend=recorded)
    assert [(rate, n_blocks) for rate, n_blocks, _ in recorded.fits] == [(1.0, 6), (0.1, 1)]


@pytest.mark.parametrize("readout", READOUTS)
def test_the_second_fit_starts_from_the_best_state(readout: Readout) -> None:
    recorded = Recorded(CompiledBackend())
    fit(patches(), WILD, readout=readout, backend=recorded)
    (_, _, first), (_, _, second) = recorded.fits
    assert first.keys() == second.keys()  # which is where the first fit began
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("readout", READOUTS)
def test_the_neighbours_of_a_refitted_block_keep_their_bits(readout: Readout) -> None:
    given, others = patches(), torch.tensor([0, 1, 3, 4, 5])
    given.signal[2, 0, 0, 0] = torch.nan
    found = fit(given, readout=readout, backend=CompiledBackend())
    alone = fit(given.select(others), readout=readout, backend=CompiledBackend())
    assert torch.equal(found.mse[others], alone.mse)
    stored = select(found.stored, others)
    assert all(torch.equal(stored[name], tensor) for name, tensor in alone.stored.items())


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
    assert all(bool(tensor[kept].isfinite().all()) for tensor in found.stored.values())


def test_a_fit_that_goes_well_happens_once() -> None:
    recorded = Recorded(CompiledBackend())
    found = fit(patches(), backend=recorded)
    assert len(recorded.fits) == 1
    assert not (found.diverged | found.diverged_again).any()


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
    told: list[int] = []
    fitter = group_fitter(optimizer=partial(torch.optim.Adam, lr=WILD), backend=CompiledBackend())
    fitter.fit(patches(), start(fitter), told.append)
    assert sum(told) == 6 * 30


def test_a_diverging_pilot_is_taken_again_too() -> None:
    high, still = (
        group_fitter(optimizer=partial(torch.optim.Adam, lr=lr), backend=CompiledBackend())
        for lr in (0.2, 1e-9)
    )
    found, at_start = (which.errors_after(20, patches(), start(which)) for which in (high, still))
    assert bool((found < 0.9 * at_start).all())
