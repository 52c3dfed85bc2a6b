"""Many blocks at once against one block after another, and what a fit of blocks returns."""

import math
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from problems import NEVER, READOUTS, Problem, problem
from test_readout import least_squares, penalty
from torch import Tensor

from miner.fitting.block_fit import BlockFit
from miner.fitting.criteria import (
    AbsoluteMSEPruning,
    ExponentialSchedule,
    LogMSELoss,
    NoPruning,
    PlateauPruning,
    Schedule,
)
from miner.fitting.initialization import pixel_subset
from miner.models.activations import Activation, Finer, Gabor, Gaussian, ReLU, Sine, Siren
from miner.models.parameters import Parameters, concatenate, select

ACTIVATIONS = [Gaussian(), Sine(), Siren(), ReLU(), Gabor(), Finer()]


def same(found: Parameters, expected: Parameters) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def in_groups(given: Problem, size: int) -> Parameters:
    parts = torch.arange(len(given.targets)).split(size)
    return concatenate([given.select(part).fit().parameters for part in parts])


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
        steps.loss((outputs - targets[:, drawn]).square().mean()).backward()
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


@pytest.mark.parametrize("size", [1, 5, 7])
@pytest.mark.parametrize("readout", READOUTS)
def test_the_batch_of_a_block_does_not_matter(readout: str, size: int) -> None:
    given = problem(readout)
    same(in_groups(given, size), given.fit().parameters)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
def test_the_batch_does_not_matter_for_any_activation(activation: Activation) -> None:
    given = problem(activation=activation)
    same(in_groups(given, 5), given.fit().parameters)


def test_the_batch_does_not_matter_for_pixel_subsets() -> None:
    given = problem().with_steps(batch_pixels=10, loss=LogMSELoss())
    same(in_groups(given, 7), given.fit().parameters)


@dataclass(frozen=True)
class Survival:
    """A problem of which the even blocks converge early."""

    given: Problem
    fit: BlockFit
    survivors: Tensor


@pytest.fixture(params=["Adam", "RAdam", "SGD"])
def survival(request: pytest.FixtureRequest) -> Survival:
    optimizer = getattr(torch.optim, request.param)
    given = problem().with_steps(optimizer=partial(optimizer, lr=1e-2))
    given.targets[::2] = 0.25  # the bias alone fits them
    fit = given.fit(AbsoluteMSEPruning(4), max_mse=1e-8)
    return Survival(given, fit, torch.arange(1, 12, 2))


def test_blocks_that_meet_the_bound_converge(survival: Survival) -> None:
    assert survival.fit.converged.tolist() == [True, False] * 6


def test_survivors_do_not_notice_the_blocks_that_leave(survival: Survival) -> None:
    alone = survival.given.select(survival.survivors).fit(NoPruning(4))
    same(select(survival.fit.parameters, survival.survivors), alone.parameters)


@pytest.mark.parametrize("readout", READOUTS)
def test_survivors_are_left_alone_whatever_the_readout(readout: str) -> None:
    given = problem(readout).with_steps(optimizer=partial(torch.optim.Adam, lr=1e-2))
    median = float(given.with_steps(n_steps=10).fit().mse.median())
    fit, whole = given.fit(AbsoluteMSEPruning(4), median), given.fit(NoPruning(4))
    assert 0 < int(fit.converged.sum()) < 12
    same(select(fit.parameters, ~fit.converged), select(whole.parameters, ~fit.converged))


def test_blocks_that_leave_keep_their_measured_state(survival: Survival) -> None:
    measured = survival.given.measured(survival.fit.parameters)
    torch.testing.assert_close(survival.fit.mse, measured, rtol=1e-9, atol=1e-20)


@pytest.fixture
def staggered() -> tuple[Problem, BlockFit]:
    """Blocks that reach the bound one after another, some of them never."""
    faster = partial(torch.optim.Adam, lr=1e-2)
    given = problem().with_steps(optimizer=faster, n_steps=18)
    return given, given.fit(AbsoluteMSEPruning(2), max_mse=0.02)


def test_blocks_that_leave_late_keep_their_measured_state(
    staggered: tuple[Problem, BlockFit],
) -> None:
    given, fit = staggered
    torch.testing.assert_close(fit.mse, given.measured(fit.parameters), rtol=1e-9, atol=0)


def test_converged_names_the_blocks_below_the_bound(staggered: tuple[Problem, BlockFit]) -> None:
    _, fit = staggered
    assert fit.converged.tolist() == (fit.mse <= 0.02).tolist()
    assert 0 < int(fit.converged.sum()) < 12


def test_a_diverged_block_does_not_touch_the_others() -> None:
    given = problem()
    others = torch.arange(1, 12)
    expected = given.select(others).fit().parameters
    given.start["hidden.0.weight"][0] = torch.nan
    fit = given.fit(AbsoluteMSEPruning(4))
    same(select(fit.parameters, others), expected)
    assert fit.mse[0] == math.inf


@pytest.mark.parametrize("batch_pixels", [None, 10])
@pytest.mark.parametrize("readout", READOUTS)
def test_the_reported_error_is_that_of_the_returned_state(
    readout: str, batch_pixels: int | None
) -> None:
    given = problem(readout).with_steps(batch_pixels=batch_pixels)
    fit = given.fit()
    torch.testing.assert_close(fit.mse, given.measured(fit.parameters), rtol=1e-9, atol=0)


@pytest.mark.parametrize("readout", READOUTS)
def test_a_huge_learning_rate_never_ends_worse_than_the_start(readout: str) -> None:
    given = problem(readout)
    first = given.with_steps(n_steps=1, schedule=Standstill()).fit().mse
    wild = given.with_steps(optimizer=partial(torch.optim.Adam, lr=1e3)).fit()
    assert bool((wild.mse <= first).all())


@dataclass(frozen=True)
class Standstill(Schedule):
    """A rate of zero."""

    def factor(self, step: int, n_steps: int) -> float:
        """0."""
        return 0.0


@pytest.mark.parametrize("readout", READOUTS)
def test_the_schedule_scales_the_rate(readout: str) -> None:
    given = problem(readout).with_steps(schedule=Standstill())
    same({name: given.fit().parameters[name] for name in given.start}, given.start)


@pytest.mark.parametrize("readout", READOUTS)
def test_fitting_lowers_the_error(readout: str) -> None:
    given = problem(readout)
    start = given.with_steps(n_steps=1, schedule=Standstill()).fit().mse
    assert bool((given.fit().mse < 0.99 * start).all())


def test_a_fit_repeats_bit_for_bit() -> None:
    first, again = (problem().with_steps(batch_pixels=10).fit() for _ in range(2))
    torch.testing.assert_close(first.parameters, again.parameters, rtol=0, atol=0)


def test_a_fit_leaves_its_arguments_alone() -> None:
    given = problem()
    given.fit(AbsoluteMSEPruning(1), max_mse=0.05)
    same(given.start, problem().start)


@pytest.mark.parametrize("max_mse", [0.0, 0.05, 1e9])
def test_every_step_of_every_block_is_done_or_spared(max_mse: float) -> None:
    told: list[int] = []
    problem().fit(AbsoluteMSEPruning(3), max_mse, told.append)
    assert sum(told) == 20 * 12


def test_the_curve_has_a_point_for_each_check() -> None:
    fit = problem().fit(NoPruning(8))
    steps, seconds, errors = zip(*fit.curve, strict=True)
    assert steps == (8, 16, 20)
    assert list(seconds) == sorted(seconds)
    assert list(errors) == sorted(errors, reverse=True)
    assert errors[-1] == pytest.approx(2 * 36 * float(fit.mse.sum()))


def test_a_fit_ends_when_all_blocks_are_done() -> None:
    fit = problem().fit(AbsoluteMSEPruning(3), max_mse=1e9)
    assert [step for step, _, _ in fit.curve] == [3]
    assert bool(fit.converged.all())


def test_converged_means_before_the_last_step() -> None:
    assert not problem().fit(AbsoluteMSEPruning(20), max_mse=1e9).converged.any()


def test_the_first_check_has_nothing_to_compare_with() -> None:
    fit = problem().fit(PlateauPruning(5, min_change=1e9))
    assert [step for step, _, _ in fit.curve] == [5, 10]


def test_an_error_that_falls_is_no_plateau() -> None:
    assert not problem().fit(PlateauPruning(1, min_change=1e-12)).converged.any()


def test_an_error_that_rises_is_no_plateau() -> None:
    uphill = problem().with_steps(optimizer=partial(torch.optim.SGD, lr=1e-2, maximize=True))
    assert not uphill.fit(PlateauPruning(1, min_change=1e-12)).converged.any()


def test_an_error_that_stays_is_a_plateau() -> None:
    given = problem()
    given.targets[0] = 0.25  # the bias alone fits it
    fit = given.fit(PlateauPruning(2, min_change=1e-12))
    assert fit.converged.tolist() == [True] + [False] * 11


@dataclass(frozen=True)
class OneStep(Schedule):
    """A full rate at the first step, none afterwards."""

    def factor(self, step: int, n_steps: int) -> float:
        """1, then 0."""
        return float(step == 0)


def test_an_error_that_stays_where_it_rose_to_is_a_plateau() -> None:
    uphill = partial(torch.optim.SGD, lr=1.0, maximize=True)
    fit = problem().with_steps(optimizer=uphill, schedule=OneStep()).fit(PlateauPruning(1, 1e-12))
    assert bool(fit.converged.all())


@pytest.mark.parametrize("n_pixels", [1, 3])
def test_fewer_pixels_than_features_are_fitted_exactly(n_pixels: int) -> None:
    given = problem()
    few = replace(given, encoded=given.encoded[:, :n_pixels], targets=given.targets[..., :n_pixels])
    assert float(few.fit().mse.max()) < 1e-10


def test_more_pixels_a_step_than_a_block_has_are_all() -> None:
    given = problem()
    same(given.with_steps(batch_pixels=99).fit(NEVER).parameters, given.fit(NEVER).parameters)


def test_single_and_double_precision_start_together() -> None:
    given = problem().with_steps(n_steps=1)
    single = replace(
        given,
        encoded=given.encoded.float(),
        targets=given.targets.float(),
        start={name: tensor.float() for name, tensor in given.start.items()},
    )
    torch.testing.assert_close(single.fit().mse.double(), given.fit().mse, rtol=1e-4, atol=0)


def test_other_keys_see_other_pixels() -> None:
    given = problem().with_steps(batch_pixels=10)
    other = given.with_steps(key=(0, 1, "pixels")).fit().mse
    assert not torch.equal(given.fit().mse, other)
