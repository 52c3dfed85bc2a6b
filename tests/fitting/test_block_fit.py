"""Many blocks at once against one block after another, and what a fit of blocks returns."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from block_problems import ACTIVATIONS, READOUTS, CompiledProblem, Problem, problem
from problems import least_squares, penalty
from torch import Tensor

from miner.fitting.block_fit import Curve, merge_curves, no_longer_than
from miner.fitting.criteria import (
    AbsoluteMSEPruning,
    ExponentialSchedule,
    LogMSELoss,
    NoPruning,
    PlateauPruning,
)
from miner.fitting.steps import pixel_subset
from miner.models.network import Parameters, concatenate, select


def same(found: Parameters, expected: Parameters, given: Problem) -> None:
    """To the bit by the compiled steps."""
    atol = 0 if isinstance(given, CompiledProblem) else 1e-9
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def plain_features(own: Parameters, encoded: Tensor) -> Tensor:
    values = encoded.T
    for layer in range(2):
        weight, bias, a = (own[f"hidden.{layer}.{name}"] for name in ("weight", "bias", "a"))
        values = ((values @ weight + bias) / a).sin()
    return values.T


def plain_outputs(
    kind: str, own: Parameters, encoded: Tensor, seen: Tensor, all_: Tensor
) -> Tensor:
    """Outputs of one block for the targets that it sees; the amplitude is that of all targets."""
    features = plain_features(own, encoded)
    if kind == "closed_form":
        with torch.no_grad():
            F = features[None]
            own = own | select(least_squares(F, seen[None], penalty(F, 1e-6)), torch.tensor(0))
    z = own["readout.weight"].T @ features + own["readout.bias"][:, None]
    if kind == "sigmoid":
        return z.sigmoid()
    return all_.abs().max() * (own["readout.frequency"] * z).sin() if kind == "scaled_sine" else z


def plain_loop(kind: str, given: Problem, block: int) -> tuple[Parameters, float]:
    """Hidden parameters and error of one block's best measured state, by the book."""
    steps, targets = given.steps, given.targets[block]
    own = {n: t[block].clone().requires_grad_() for n, t in given.start.items()}
    optimizer, best = steps.optimizer(own.values()), (own, math.inf)
    rate = optimizer.param_groups[0]["lr"]
    for step in range(steps.n_steps + 1):
        if steps.batch_pixels is None or step == steps.n_steps:
            outputs = plain_outputs(kind, own, given.encoded, targets, targets)
            mse = float((outputs - targets).detach().square().mean())
            if mse < best[1]:
                best = ({name: tensor.detach().clone() for name, tensor in own.items()}, mse)
        drawn = pixel_subset(36, steps.batch_pixels or 36, step, *steps.key)
        outputs = plain_outputs(kind, own, given.encoded[:, drawn], targets[:, drawn], targets)
        optimizer.param_groups[0]["lr"] = rate * steps.schedule.factor(step, steps.n_steps)
        optimizer.zero_grad()
        residual = outputs - targets[:, drawn]
        steps.loss(residual, residual.square().mean()).backward()
        optimizer.step()
    return best


@pytest.mark.parametrize("batch_pixels", [None, 11])
@pytest.mark.parametrize("readout", READOUTS)
def test_a_fit_is_a_plain_loop_over_blocks(readout: str, batch_pixels: int | None) -> None:
    given = problem(readout, n_blocks=3).with_steps(
        schedule=ExponentialSchedule(0.9), loss=LogMSELoss(), batch_pixels=batch_pixels
    )
    fit = given.fit(NoPruning(100))
    for block in range(3):
        expected, mse = plain_loop(readout, given, block)
        found = {name: fit.parameters[name][block] for name in expected}
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)
        assert float(fit.mse[block]) == pytest.approx(mse, rel=1e-7)


BATCHED = {
    **{name: problem(name) for name in READOUTS},
    **{type(one).__name__: problem(activation=one) for one in ACTIVATIONS},
}
BATCHED |= {f"compiled_{name}": given.compiled() for name, given in BATCHED.items()}
BATCHED["pixel_subsets"] = problem().with_steps(batch_pixels=10, loss=LogMSELoss())
QUICK = ("closed_form", "compiled_sigmoid", "pixel_subsets")  # of the many fits of single blocks


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, 5) for name in BATCHED),
        *(pytest.param(n, 1, marks=[pytest.mark.slow] * (n not in QUICK)) for n in BATCHED),
    ],
)
def test_the_batch_of_a_block_does_not_matter(name: str, size: int) -> None:
    given = BATCHED[name]
    apart = [given.select(part).fit() for part in torch.arange(12).split(size)]
    whole = given.fit()
    same(concatenate([fit.parameters for fit in apart]), whole.parameters, given)
    same({"mse": torch.cat([fit.mse for fit in apart])}, {"mse": whole.mse}, given)


@pytest.fixture(params=[Problem.with_steps, Problem.compiled], ids=["eager", "compiled"])
def program(request: pytest.FixtureRequest) -> Callable[[Problem], Problem]:
    """Leaves a problem as it is, or makes it one of the compiled steps."""
    return request.param


@pytest.mark.parametrize("optimizer", ["Adam", "RAdam", "NAdam"])
@pytest.mark.parametrize("readout", READOUTS)
def test_blocks_that_converge_leave_and_the_others_do_not_notice(
    readout: str, optimizer: str, program: Callable[[Problem], Problem]
) -> None:
    faster = partial(getattr(torch.optim, optimizer), lr=1e-2)
    given = program(problem(readout).with_steps(optimizer=faster))
    median = float(given.with_steps(n_steps=16).fit().mse.median())
    fit, whole = given.fit(AbsoluteMSEPruning(4), median), given.fit(NoPruning(4))
    assert 0 < int(fit.converged.sum()) < 12
    for one in (fit, whole):
        measured = given.measured(one.parameters)
        torch.testing.assert_close(one.mse, measured, rtol=1e-4, atol=1e-9)
    same(select(fit.parameters, ~fit.converged), select(whole.parameters, ~fit.converged), given)


@pytest.mark.parametrize("readout", READOUTS)
def test_fitting_lowers_the_error(readout: str, program: Callable[[Problem], Problem]) -> None:
    given = program(problem(readout))
    still = given.with_steps(optimizer=partial(torch.optim.Adam, lr=0.0), n_steps=1)
    assert bool((given.fit().mse < 0.99 * still.fit().mse).all())


def test_a_fit_leaves_its_arguments_alone(program: Callable[[Problem], Problem]) -> None:
    given, before = program(problem()), program(problem())
    given.fit(AbsoluteMSEPruning(1), max_mse=0.05)
    same(given.start, before.start, given)
    assert torch.equal(given.targets, before.targets)


@pytest.mark.parametrize("max_mse", [0.0, 0.05, 1e9])
def test_every_step_of_every_block_is_done_or_spared(max_mse: float) -> None:
    reported: list[int] = []
    problem().fit(AbsoluteMSEPruning(3), max_mse, reported.append)
    assert sum(reported) == 20 * 12


@pytest.mark.parametrize(
    ("n_steps", "every", "expected"),
    [(10, 4, (4, 8, 10)), (8, 4, (4, 8)), (3, 10, (3,)), (3, 1, (1, 2, 3)), (4, 4, (4,))],
)
def test_the_curve_has_a_point_for_each_check(
    n_steps: int, every: int, expected: tuple[int, ...]
) -> None:
    fit = problem().with_steps(n_steps=n_steps).fit(NoPruning(every))
    steps, seconds, errors = zip(*fit.curve, strict=True)
    assert steps == expected
    assert list(seconds) == sorted(seconds)
    assert list(errors) == sorted(errors, reverse=True)
    assert errors[-1] == pytest.approx(2 * 36 * float(fit.mse.sum()))


@pytest.mark.parametrize(("every", "converged"), [(3, True), (20, False)])
def test_a_fit_ends_when_all_blocks_converged_before_the_last_step(
    every: int, converged: bool
) -> None:
    fit = problem().fit(AbsoluteMSEPruning(every), max_mse=1e9)
    assert [step for step, _, _ in fit.curve] == [every]
    assert fit.converged.tolist() == 12 * [converged]


def test_the_first_check_has_nothing_to_compare_with() -> None:
    fit = problem().fit(PlateauPruning(5, min_change=1e9))
    assert [step for step, _, _ in fit.curve] == [5, 10]


UPHILL = partial(torch.optim.SGD, lr=1e-2, maximize=True)
STEEP = partial(torch.optim.SGD, lr=1.0, maximize=True)


@pytest.mark.parametrize(
    ("changes", "converged"),
    [
        ({}, False),  # it falls
        ({"optimizer": UPHILL}, False),  # it rises
        (
            {"optimizer": STEEP, "schedule": ExponentialSchedule(1e-30)},
            True,
        ),  # it stays where it rose to
    ],
)
def test_an_error_that_changes_is_no_plateau(changes: dict[str, Any], converged: bool) -> None:
    fit = problem().with_steps(**changes).fit(PlateauPruning(1, min_change=1e-12))
    assert fit.converged.tolist() == 12 * [converged]


def test_more_pixels_a_step_than_a_block_has_are_all() -> None:
    given = problem()
    same(given.with_steps(batch_pixels=99).fit().parameters, given.fit().parameters, given)


LONG = ((10, 1.0, 8.0), (20, 2.0, 4.0), (30, 3.0, 2.0))
SHORT = ((10, 0.5, 1.0),)


@pytest.mark.parametrize(
    ("curves", "merged"),
    [
        ([], ()),
        ([LONG], LONG),
        # a fit that stopped early keeps its last values
        ([LONG, SHORT], ((10, 1.5, 9.0), (20, 2.5, 5.0), (30, 3.5, 3.0))),
        ([SHORT, LONG], ((10, 1.5, 9.0), (20, 2.5, 5.0), (30, 3.5, 3.0))),
        # and counts before its first check
        ([SHORT, ((20, 1.0, 5.0),)], ((10, 1.5, 6.0), (20, 1.5, 6.0))),
    ],
)
def test_curves_are_summed_step_by_step(curves: list[Curve], merged: Curve) -> None:
    assert merge_curves(curves) == merged


def test_concurrent_fits_take_less_than_the_sum_of_their_seconds() -> None:
    assert no_longer_than(LONG, 1.5) == ((10, 0.5, 8.0), (20, 1.0, 4.0), (30, 1.5, 2.0))
    assert no_longer_than(LONG, 4.0) == LONG
    assert no_longer_than((), 4.0) == ()
    assert no_longer_than(SHORT, 0.25, start_s=2.0) == ((10, 2.25, 1.0),)
    assert no_longer_than(((10, 0.62, 1.0),), 0.33) == ((10, 0.33, 1.0),)  # not 0.33 + 1 ulp
