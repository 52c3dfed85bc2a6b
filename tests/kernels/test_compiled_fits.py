"""Compiled fits: bit for bit the same however they are run, and as good as plain ones."""

import math
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from kernel_problems import (
    ACTIVATIONS,
    READOUTS,
    SETTINGS,
    Kind,
    fit,
    kind_with,
    measured,
    noise,
    problem_of,
    select,
    single,
    with_steps,
)
from torch import Tensor

import miner
from miner.fitting.backend import EagerBackend
from miner.fitting.block_fit import BlockFit
from miner.fitting.criteria import AbsoluteMSEPruning, LogMSELoss, NoPruning
from miner.fitting.readout import ClosedFormReadout
from miner.fitting.steps import BlockProblem
from miner.models.activations import Activation, Sine
from miner.models.network import Parameters, concatenate
from miner.models.network import select as select_parameters
from miner.representation import Representation

FASTER, STILL = (partial(torch.optim.Adam, lr=lr) for lr in (1e-2, 0.0))


def problem(
    readout: str = "closed_form", activation: Activation | None = None, **steps: Any
) -> BlockProblem:
    """Twelve blocks of 36 pixels with two channels, in float32."""
    kind: Kind = kind_with(type(activation or Sine()), readout)
    kind = kind._replace(width=5, depth=2, channels=2)
    given = problem_of(kind, 36, n_blocks=12, n_steps=20)
    adam = partial(torch.optim.Adam, lr=2e-3, betas=(0.9, 0.99))
    return single(with_steps(given, **{"optimizer": adam} | steps))


def identical(found: Parameters, expected: Parameters) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def same_fit(found: BlockFit, expected: BlockFit) -> None:
    identical(found.parameters, expected.parameters)
    assert torch.equal(found.mse, expected.mse)
    assert torch.equal(found.converged, expected.converged)


@pytest.fixture
def threads() -> Iterator[None]:
    """Restores PyTorch's number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


CASES = [(readout, None, size) for readout in READOUTS for size in (1, 5, 7)]


@pytest.mark.parametrize(
    ("readout", "activation", "size"),
    CASES + [("closed_form", activation, 5) for activation in ACTIVATIONS],
)
def test_the_batch_does_not_change_a_bit(
    readout: str, activation: Activation | None, size: int
) -> None:
    given = problem(readout, activation)
    parts = [fit(select(given, part)) for part in torch.arange(12).split(size)]
    whole = fit(given)
    identical(concatenate([part.parameters for part in parts]), whole.parameters)
    assert torch.equal(torch.cat([part.mse for part in parts]), whole.mse)


@pytest.mark.parametrize("readout", READOUTS)
def test_neither_threads_nor_a_second_fit_change_a_bit(readout: str, threads: None) -> None:
    fits = []
    for n_threads in (1, 2, 5, 5):
        torch.set_num_threads(n_threads)
        fits.append(fit(problem(readout)))
    for other in fits[1:]:
        same_fit(other, fits[0])


def test_a_fit_leaves_its_arguments_alone() -> None:
    given, before = problem(), problem()
    fit(given, AbsoluteMSEPruning(1), max_mse=0.05)
    identical(given.start, before.start)
    assert torch.equal(given.targets, before.targets)


@pytest.mark.parametrize("every", [1, 3, 7])
@pytest.mark.parametrize("readout", READOUTS)
def test_more_frequent_checks_change_nothing(readout: str, every: int) -> None:
    given = problem(readout)
    same_fit(fit(given, NoPruning(every)), fit(given, NoPruning(20)))


@pytest.mark.parametrize("optimizer", ["Adam", "RAdam", "NAdam"])
@pytest.mark.parametrize("readout", READOUTS)
def test_blocks_that_leave_do_not_affect_the_others(readout: str, optimizer: str) -> None:
    given = problem(readout, optimizer=partial(getattr(torch.optim, optimizer), lr=1e-2))
    median = float(fit(with_steps(given, n_steps=16)).mse.median())
    found, whole = fit(given, AbsoluteMSEPruning(4), median), fit(given, NoPruning(4))
    stays = ~found.converged
    assert 0 < int(stays.sum()) < 12
    identical(
        select_parameters(found.parameters, stays), select_parameters(whole.parameters, stays)
    )
    assert torch.equal(found.mse[stays], whole.mse[stays])


@pytest.mark.parametrize("pruning", [NoPruning(4), AbsoluteMSEPruning(2)])
@pytest.mark.parametrize("readout", READOUTS)
def test_the_reported_error_is_that_of_the_returned_state(readout: str, pruning: Any) -> None:
    given = problem(readout, optimizer=FASTER)
    found = fit(given, pruning, max_mse=0.02)
    torch.testing.assert_close(found.mse, measured(given, found.parameters), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("readout", READOUTS)
def test_a_huge_learning_rate_never_ends_worse_than_the_start(readout: str) -> None:
    first = fit(problem(readout, n_steps=1, optimizer=STILL)).mse
    wild = fit(problem(readout, optimizer=partial(torch.optim.Adam, lr=1e3)))
    assert bool((wild.mse <= first).all())


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("readout", READOUTS)
def test_a_diverged_block_does_not_affect_the_others(readout: str, activation: Activation) -> None:
    given, others = problem(readout, activation), torch.arange(1, 12)
    expected = fit(select(given, others))
    given.start["hidden.0.weight"][0] = torch.nan
    found = fit(given, AbsoluteMSEPruning(4))
    identical(select_parameters(found.parameters, others), expected.parameters)
    assert torch.equal(found.mse[1:], expected.mse)
    assert found.mse[0] == math.inf
    assert not found.converged[0]


def variance(targets: Tensor) -> Tensor:
    return targets.var(-1, correction=0).mean(-1)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
def test_constant_features_leave_the_mean_of_the_targets(activation: Activation) -> None:
    given = problem(activation=activation, optimizer=STILL)
    given.start["hidden.1.weight"].zero_()
    torch.testing.assert_close(fit(given).mse, variance(given.targets), rtol=1e-4, atol=0)


@pytest.mark.parametrize("ridge", [0.0, 1e-18])
def test_a_ridge_too_small_to_solve_with_is_raised(ridge: float) -> None:
    given = problem()._replace(readout=ClosedFormReadout(ridge))
    for name in ("hidden.1.weight", "hidden.1.bias"):
        given.start[name] = given.start[name][..., [0, 1, 0, 1, 0]].contiguous()
    found = fit(given)
    assert bool((found.mse <= 1.001 * variance(given.targets)).all())
    torch.testing.assert_close(found.mse, measured(given, found.parameters), rtol=1e-2, atol=1e-7)


@pytest.mark.parametrize("readout", READOUTS)
def test_twenty_steps_end_like_plain_ones(readout: str) -> None:
    given = problem(readout, optimizer=FASTER, loss=LogMSELoss())
    plain = fit(given, backend=EagerBackend())
    torch.testing.assert_close(fit(given).mse, plain.mse, rtol=1e-2, atol=0)


def picture(*sides: int) -> Tensor:
    axes = torch.meshgrid(*(torch.arange(side) / 7 for side in sides), indexing="ij")
    smooth = 0.5 + 0.3 * torch.stack([sum(axes).sin(), (axes[0] * axes[-1]).cos()])
    return (smooth + 0.2 * (noise(2, *sides) - 0.5)).clamp(0, 1)


def fitted(signal: Tensor, backend: str = "compiled", **changes: Any) -> Representation:
    return miner.fit(signal, backend=backend, **SETTINGS | changes)


def error(signal: Tensor, **changes: Any) -> float:
    return float((fitted(signal, **changes).reconstruct() - signal).square().mean())


def stored(representation: Representation) -> list[Tensor]:
    """All networks, level by level, in the order of blocks."""
    found = []
    for _, shards in sorted(representation.shards.items()):
        order = torch.cat([shard.blocks for shard in shards]).argsort()
        parameters = concatenate([shard.stored[SETTINGS["model.width"]] for shard in shards])
        found += list(select_parameters(parameters, order).values())
    return found


def combinations() -> list[Any]:
    """Of three choices, quickly every pair and slowly every triple; and learned readouts."""
    pyramids, storages = ("gaussian", "laplacian"), ("float32", "float16", "int8")
    weights = "fresh", "shared", "parent_frame"
    triples = [
        pytest.param(
            {"storage": s, "pyramid": p, "weights": w},
            marks=[pytest.mark.slow] if (i + j + k) % 2 else [],
        )
        for (i, s), (j, p), (k, w) in product(*map(enumerate, (storages, pyramids, weights)))
    ]
    pairs = product(pyramids, storages)
    return triples + [{"readout": "learned", "pyramid": p, "storage": s} for p, s in pairs]


@pytest.mark.parametrize("changes", combinations(), ids=str)
def test_a_whole_fit_is_as_good_as_a_plain_one(changes: dict[str, str]) -> None:
    errors = [error(picture(29, 23), backend=b, **changes) for b in ("compiled", "eager")]
    assert 10 * abs(math.log10(errors[0] / errors[1])) < 0.05


@pytest.mark.parametrize("sides", [(1, 1), (1, 19), (13, 7), (3, 5, 7), (1, 1, 11)], ids=str)
def test_any_size_is_fitted_as_well_as_by_plain_steps(sides: tuple[int, ...]) -> None:
    few = {"activation": "sine", "optimizer.lr": 2e-2, "fitting.max_steps": 4}
    errors = [error(picture(*sides), backend=b, **few) for b in ("compiled", "eager")]
    assert errors[0] == pytest.approx(errors[1], rel=0.02, abs=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {"fitting.blocks_per_shard": 1},
        {"fitting.blocks_per_shard": 5},
        {"fitting.max_memory_gib": 1e-9},
    ],
    ids=str,
)
@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_chunks_and_sub_batches_do_not_change_a_bit(storage: str, changes: dict[str, Any]) -> None:
    one_level = partial(fitted, noise(1, 29, 23), storage=storage, **{"pyramid.n_levels": 1})
    assert all(map(torch.equal, stored(one_level(**changes)), stored(one_level())))


def test_unsupported_settings_give_the_fit_of_plain_pytorch() -> None:
    signal, drawn = noise(1, 29, 23), {"fitting.batch_pixels": 20}
    fits = [stored(fitted(signal, backend=b, **drawn)) for b in ("compiled", "eager")]
    assert all(map(torch.equal, *fits))
