"""Compiled fits: bit for bit the same however they are run, and as good as plain ones."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from problems import READOUTS, SETTINGS, fit, noise, problem
from test_block_fitter import ACTIVATIONS
from torch import Tensor

from miner.fitting.backend import EagerBackend
from miner.fitting.block_fit import BlockFit
from miner.fitting.criteria import AbsoluteMSEPruning, LogMSELoss, NoPruning
from miner.fitting.initialization import FreshWeights, ParentFrameWeights, SharedWeights, Weights
from miner.fitting.readout import ClosedFormReadout, LearnedReadout
from miner.kernels.backend import CompiledBackend
from miner.models.activations import Activation
from miner.models.parameters import Parameters, concatenate, select
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid, Pyramid
from miner.representation import Representation
from miner.representation.storage import Float16Storage, Float32Storage, Int8Storage, Storage

FUSED = CompiledBackend()
FASTER, SLOWER, STILL = (partial(torch.optim.Adam, lr=lr) for lr in (1e-2, 1e-3, 0.0))


def identical(found: Parameters, expected: Parameters) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def same_fit(found: BlockFit, expected: BlockFit) -> None:
    identical(found.parameters, expected.parameters)
    assert torch.equal(found.mse, expected.mse)
    assert torch.equal(found.converged, expected.converged)


@pytest.fixture
def threads() -> Iterator[None]:
    """Put PyTorch's number of threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("size", [1, 5, 7])
@pytest.mark.parametrize("readout", READOUTS)
def test_the_batch_does_not_change_a_bit(readout: str, size: int) -> None:
    given = problem(readout).compiled()
    parts = [given.select(part).fit() for part in torch.arange(12).split(size)]
    whole = given.fit()
    identical(concatenate([part.parameters for part in parts]), whole.parameters)
    assert torch.equal(torch.cat([part.mse for part in parts]), whole.mse)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
def test_the_batch_does_not_change_a_bit_for_any_activation(activation: Activation) -> None:
    given = problem(activation=activation).compiled()
    parts = [given.select(part).fit().parameters for part in torch.arange(12).split(5)]
    identical(concatenate(parts), given.fit().parameters)


@pytest.mark.parametrize("readout", READOUTS)
def test_the_number_of_threads_does_not_change_a_bit(readout: str, threads: None) -> None:
    given = problem(readout).compiled()
    fits = []
    for n_threads in (1, 2, 5):
        torch.set_num_threads(n_threads)
        fits.append(given.fit())
    same_fit(fits[1], fits[0])
    same_fit(fits[2], fits[0])


@pytest.mark.parametrize("readout", READOUTS)
def test_a_fit_repeats_bit_for_bit(readout: str) -> None:
    same_fit(problem(readout).compiled().fit(), problem(readout).compiled().fit())


def test_a_fit_leaves_its_arguments_alone() -> None:
    given, before = problem().compiled(), problem().compiled()
    given.fit(AbsoluteMSEPruning(1), max_mse=0.05)
    identical(given.start, before.start)
    assert torch.equal(given.targets, before.targets)


@pytest.mark.parametrize("every", [1, 3, 7])
@pytest.mark.parametrize("readout", READOUTS)
def test_looking_more_often_changes_nothing(readout: str, every: int) -> None:
    given = problem(readout).compiled()
    same_fit(given.fit(NoPruning(every)), given.fit(NoPruning(20)))


@pytest.mark.parametrize("optimizer", ["Adam", "RAdam", "NAdam"])
@pytest.mark.parametrize("readout", READOUTS)
def test_survivors_do_not_notice_the_blocks_that_leave(readout: str, optimizer: str) -> None:
    factory = partial(getattr(torch.optim, optimizer), lr=1e-2)
    given = problem(readout).with_steps(optimizer=factory).compiled()
    median = float(given.with_steps(n_steps=16).fit().mse.median())
    fit, whole = given.fit(AbsoluteMSEPruning(4), median), given.fit(NoPruning(4))
    assert 0 < int(fit.converged.sum()) < 12
    identical(select(fit.parameters, ~fit.converged), select(whole.parameters, ~fit.converged))
    assert torch.equal(fit.mse[~fit.converged], whole.mse[~fit.converged])


@pytest.mark.parametrize("pruning", [NoPruning(4), AbsoluteMSEPruning(2)])
@pytest.mark.parametrize("readout", READOUTS)
def test_the_reported_error_is_that_of_the_returned_state(readout: str, pruning: Any) -> None:
    given = problem(readout).with_steps(optimizer=FASTER).compiled()
    fit = given.fit(pruning, max_mse=0.02)
    torch.testing.assert_close(fit.mse, given.measured(fit.parameters), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("readout", READOUTS)
def test_a_huge_learning_rate_never_ends_worse_than_the_start(readout: str) -> None:
    given = problem(readout).compiled()
    first = given.with_steps(n_steps=1, optimizer=STILL).fit().mse
    wild = given.with_steps(optimizer=partial(torch.optim.Adam, lr=1e3)).fit()
    assert bool((wild.mse <= first).all())


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("readout", READOUTS)
def test_a_diverged_block_does_not_touch_the_others(readout: str, activation: Activation) -> None:
    given = problem(readout, activation).compiled()
    others = torch.arange(1, 12)
    expected = given.select(others).fit()
    given.start["hidden.0.weight"][0] = torch.nan
    fit = given.fit(AbsoluteMSEPruning(4))
    identical(select(fit.parameters, others), expected.parameters)
    assert torch.equal(fit.mse[1:], expected.mse)
    assert fit.mse[0] == math.inf
    assert not fit.converged[0]


def variance(targets: Tensor) -> Tensor:
    return targets.var(-1, correction=0).mean(-1)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
def test_constant_features_leave_the_mean_of_the_targets(activation: Activation) -> None:
    given = problem(activation=activation).with_steps(optimizer=STILL).compiled()
    given.start["hidden.1.weight"].zero_()
    torch.testing.assert_close(given.fit().mse, variance(given.targets), rtol=1e-4, atol=0)


@pytest.mark.parametrize("ridge", [0.0, 1e-18])
def test_a_ridge_too_small_to_solve_with_is_raised(ridge: float) -> None:
    given = replace(problem(), readout=ClosedFormReadout(ridge)).compiled()
    for name in ("hidden.1.weight", "hidden.1.bias"):
        given.start[name] = given.start[name][..., [0, 1, 0, 1, 0]].contiguous()
    fit = given.fit()
    assert bool((fit.mse <= 1.001 * variance(given.targets)).all())
    torch.testing.assert_close(fit.mse, given.measured(fit.parameters), rtol=1e-2, atol=1e-7)


@pytest.mark.parametrize("readout", READOUTS)
def test_twenty_steps_end_where_plain_ones_do(readout: str) -> None:
    given = problem(readout).with_steps(optimizer=FASTER, loss=LogMSELoss())
    torch.testing.assert_close(
        given.compiled().fit().mse.double(), given.fit().mse, rtol=1e-2, atol=0
    )


def picture(*sides: int) -> Tensor:
    axes = torch.meshgrid(*(torch.arange(side) / 7 for side in sides), indexing="ij")
    smooth = 0.5 + 0.3 * torch.stack([sum(axes).sin(), (axes[0] * axes[-1]).cos()])
    return smooth + 0.2 * (noise(2, *sides) - 0.5)


def psnr(signal: Tensor, representation: Representation) -> float:
    return -10 * math.log10(float((representation.reconstruct() - signal).square().mean()))


def stored(representation: Representation) -> list[Tensor]:
    """All networks, level by level, in the order of blocks."""
    found = []
    for _, shards in sorted(representation.shards.items()):
        order = torch.cat([shard.blocks for shard in shards]).argsort()
        parameters = concatenate([shard.stored[SETTINGS.width] for shard in shards])
        found += list(select(parameters, order).values())
    return found


def compare(signal: Tensor, **changes: Any) -> None:
    """At a low rate, for rounding grows with the steps as in any float32 fit."""
    changes = {"optimizer": SLOWER, "max_steps": 12} | changes
    fused, eager = (fit(signal, backend=k, **changes) for k in (FUSED, EagerBackend()))
    assert psnr(signal, fused) == pytest.approx(psnr(signal, eager), abs=0.05)


def combinations() -> list[Any]:
    """Of three choices, quickly every pair and slowly every triple."""
    pyramids = GaussianPyramid(2), LaplacianPyramid(2)
    weights = FreshWeights(), SharedWeights(), ParentFrameWeights()
    storages = Float32Storage(), Float16Storage(), Int8Storage()
    return [
        pytest.param(s, p, w, marks=[pytest.mark.slow] if (i + j + k) % 2 else [])
        for (i, s), (j, p), (k, w) in product(*map(enumerate, (storages, pyramids, weights)))
    ]


@pytest.mark.parametrize(("storage", "pyramid", "weights"), combinations())
def test_a_whole_fit_is_as_good_as_a_plain_one(
    storage: Storage, pyramid: Pyramid, weights: Weights
) -> None:
    compare(picture(29, 23), storage=storage, pyramid=pyramid, weights=weights)


@pytest.mark.parametrize("storage", [Float32Storage(), Float16Storage(), Int8Storage()])
@pytest.mark.parametrize("pyramid", [GaussianPyramid(2), LaplacianPyramid(2)])
def test_a_whole_learned_fit_is_as_good_as_a_plain_one(pyramid: Pyramid, storage: Storage) -> None:
    compare(picture(29, 23), readout=LearnedReadout(), pyramid=pyramid, storage=storage)


@pytest.mark.parametrize("sides", [(1, 1), (1, 19), (13, 7), (3, 5, 7), (1, 1, 11)], ids=str)
def test_any_size_is_fitted_as_well_as_by_plain_steps(sides: tuple[int, ...]) -> None:
    signal = picture(*sides)
    errors = [
        float((fit(signal, backend=backend).reconstruct() - signal).square().mean())
        for backend in (FUSED, EagerBackend())
    ]
    assert errors[0] == pytest.approx(errors[1], rel=0.02, abs=1e-9)


@pytest.mark.parametrize(
    "changes", [{"blocks_per_shard": 1}, {"blocks_per_shard": 5}, {"max_memory_gib": 1e-9}], ids=str
)
@pytest.mark.parametrize("storage", [Float32Storage(), Int8Storage()])
def test_what_is_in_computation_together_does_not_change_a_bit(
    storage: Storage, changes: dict[str, Any]
) -> None:
    one_level = partial(
        fit, noise(1, 29, 23), backend=FUSED, storage=storage, pyramid=LaplacianPyramid(1)
    )
    assert all(map(torch.equal, stored(one_level(**changes)), stored(one_level())))


def test_plain_pytorch_that_takes_over_is_plain_pytorch() -> None:
    changes = {"optimizer": partial(torch.optim.SGD, lr=1e-2)}
    fits = [
        fit(noise(1, 29, 23), backend=backend, **changes) for backend in (FUSED, EagerBackend())
    ]
    assert all(map(torch.equal, *map(stored, fits)))
