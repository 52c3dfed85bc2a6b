"""Compiled steps against plain ones: the truth is float64, the bar what float32 costs PyTorch."""

from dataclasses import replace

import pytest
import torch
from fused_problems import (
    ACTIVATIONS,
    ENCODINGS,
    KINDS,
    OPTIMIZERS,
    Kind,
    assert_as_good,
    begin,
    distance,
    gradients,
    named,
    problem_of,
    size,
    three_ways,
    trained,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import READOUTS, Problem

from miner.fitting.criteria import LogMSELoss, Loss, MSELoss
from miner.fitting.readout import ClosedFormReadout
from miner.models.activations import Finer, ReLU, Sine
from miner.models.encodings import NoEncoding

LOSSES = (MSELoss(), LogMSELoss(), LogMSELoss(floor=0.05))
ANY_KIND = st.builds(
    Kind,
    readout=st.sampled_from(sorted(READOUTS)),
    activation=st.sampled_from(ACTIVATIONS),
    encoding=st.sampled_from(ENCODINGS),
    n_axes=st.sampled_from([2, 3]),
    width=st.integers(1, 23),
    depth=st.integers(1, 3),
    channels=st.integers(1, 5),
)


def problems(kinds: st.SearchStrategy[Kind], least: int = 1) -> st.SearchStrategy[Problem]:
    """Problems with at least `least` pixels, or twice the width where the readout is solved for."""

    @st.composite
    def draw(pick: st.DrawFn) -> Problem:
        kind = pick(kinds)
        n_pixels = pick(st.sampled_from([1, 5, 63, 64, 65, 127, 128, 129]) | st.integers(1, 333))
        enough = 2 * kind.width + 1 if kind.readout == "closed_form" else 1
        return problem_of(
            kind,
            max(n_pixels, least, enough),
            n_blocks=pick(st.integers(1, 4)),
            loss=pick(st.sampled_from(LOSSES)),
            optimizer=OPTIMIZERS[pick(st.sampled_from(sorted(OPTIMIZERS)))],
            seed=pick(st.integers(0, 99)),
        )

    return draw()


def check_gradients(given: Problem) -> None:
    """Adam's first moment after a step from zero is 1 - beta1 of the gradient."""
    plain = given.with_steps(optimizer=torch.optim.Adam)
    truth, single, fused = three_ways(plain)
    for steps in (truth, single, fused):
        steps.advance(1)
    expected = gradients(truth)
    found = named(10 * fused._first, expected)
    usual = distance(gradients(single), expected)
    assert_as_good(distance(found, expected), usual, 1e-5 * size(expected))


def check_a_step(given: Problem) -> None:
    """A step of the optimiser, and the error of the state that it moves away from."""
    truth, single, fused = three_ways(given)
    for steps in (truth, single, fused):
        steps.advance(1)
    expected = trained(truth)
    found, usual = named(fused._trained, expected), distance(trained(single), expected)
    assert_as_good(distance(found, expected), usual, 1e-5 * size(expected))
    check_errors(truth.mse, single.mse, fused.mse, floor=1e-6)


def check_errors(
    truth: torch.Tensor, single: torch.Tensor, fused: torch.Tensor, floor: float
) -> None:
    """Roots of mean squares are compared: rounding adds to the residuals."""
    roots = {name: mse.double().sqrt() for name, mse in (("a", truth), ("b", single), ("c", fused))}
    usual = float((roots["b"] - roots["a"]).abs().max())
    assert_as_good(float((roots["c"] - roots["a"]).abs().max()), usual, floor)


def check_a_few_steps(given: Problem) -> None:
    """Steps in two goes and a last measurement."""
    truth, single, fused = three_ways(given)
    for steps in (truth, single, fused):
        steps.advance(3)
        steps.evaluate()
        steps.advance(5)
        steps.evaluate()
    check_errors(truth.mse, single.mse, fused.mse, floor=3e-4)
    check_errors(truth.best_mse, single.best_mse, fused.best_mse, floor=3e-4)
    best = {name: tensor.double() for name, tensor in fused.best.items()}
    check_errors(given.measured(best), single.best_mse, fused.best_mse, floor=3e-4)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_gradients_are_those_of_every_activation_and_readout(kind: Kind, loss: Loss) -> None:
    check_gradients(problem_of(kind, 150, loss=loss))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_network_takes_the_steps_of_every_optimiser(
    kind: Kind, optimizer: str
) -> None:
    check_a_few_steps(problem_of(kind, 150, optimizer=OPTIMIZERS[optimizer]))


@settings(max_examples=60)
@given(problems(ANY_KIND))
def test_gradients_are_right_for_any_number_of_pixels(given: Problem) -> None:
    check_gradients(given)


@settings(max_examples=60)
@given(problems(ANY_KIND))
def test_a_step_moves_as_the_optimiser_does(given: Problem) -> None:
    check_a_step(given)


@settings(max_examples=60)
@given(problems(ANY_KIND, least=30))
def test_a_few_steps_end_at_the_same_error(given: Problem) -> None:
    check_a_few_steps(given)


@pytest.mark.slow
@settings(max_examples=1000)
@given(problems(ANY_KIND, least=30))
def test_any_network_is_trained_as_plain_steps_do(given: Problem) -> None:
    check_gradients(given)
    check_a_step(given)
    check_a_few_steps(given)


@pytest.mark.parametrize(("width", "depth"), [(300, 1), (64, 2), (33, 5)])
@pytest.mark.parametrize("readout", READOUTS)
def test_wide_and_deep_networks_are_trained(readout: str, width: int, depth: int) -> None:
    kind = kind_with(Sine, readout)._replace(width=width, depth=depth)
    given = problem_of(kind, 2 * width + 1, n_blocks=1)
    check_gradients(given)
    check_a_step(given)


@pytest.mark.parametrize("n_pixels", [1, 2, 5, 19])
@pytest.mark.parametrize("kind", [k for k in KINDS if k.readout == "closed_form"], ids=str)
def test_few_pixels_are_fitted_as_well_as_by_plain_steps(kind: Kind, n_pixels: int) -> None:
    truth, single, fused = three_ways(problem_of(kind, n_pixels))
    for steps in (truth, single, fused):
        steps.advance(8)
    check_errors(truth.best_mse, single.best_mse, fused.best_mse, floor=1e-4)


def kind_with(activation: type, readout: str = "sigmoid") -> Kind:
    (kind,) = (k for k in KINDS if k[0] == readout and type(k.activation) is activation)
    return kind


@pytest.mark.parametrize("ridge", [1e-3, 0.1])
@pytest.mark.parametrize("activation", [Sine, Finer])
def test_the_ridge_is_that_of_the_readout(activation: type, ridge: float) -> None:
    given = problem_of(kind_with(activation, "closed_form"), 150)
    given = replace(given, readout=ClosedFormReadout(ridge))
    check_gradients(given)
    check_a_few_steps(given)


@pytest.mark.parametrize("activation", [ReLU, Finer])
def test_a_kink_has_the_slope_that_pytorch_gives_it(activation: type) -> None:
    given = problem_of(kind_with(activation), 150)
    for name in ("hidden.0.weight", "hidden.0.bias"):
        given.start[name].zero_()
    check_gradients(given)


@pytest.mark.parametrize("z", [-1e30, -150.0, -100.0, -89.0, -88.0, -30.0, 30.0, 89.0, 1e30])
def test_a_saturated_sigmoid_ends_at_zero_or_one(z: float) -> None:
    given = problem_of(kind_with(Sine), 150)
    given.start["readout.bias"].fill_(z)
    truth, single, fused = three_ways(given)
    for steps in (truth, single, fused):
        steps.advance(1)
    check_errors(truth.mse, single.mse, fused.mse, floor=1e-6)
    assert bool(fused._first.isfinite().all())


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_sines_of_large_numbers_keep_their_digits(scale: float) -> None:
    kind = kind_with(Sine)._replace(encoding=NoEncoding(), n_axes=2, depth=1, width=5)
    given = problem_of(kind, 150)
    given.start["hidden.0.weight"].mul_(scale)
    check_gradients(given)
    check_a_step(given)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_parameter_that_is_no_number_shows_in_the_error(kind: Kind) -> None:
    given = problem_of(kind, 150)
    given.start["hidden.0.weight"][1, 0, 0] = torch.nan
    fused = begin(given.compiled())
    fused.advance(1)
    assert fused.mse.isfinite().tolist() == [True, False, True]
    assert fused.best_mse.isfinite().tolist() == [True, False, True]


@pytest.mark.parametrize("readout", READOUTS)
def test_blocks_that_are_kept_move_as_before(readout: str) -> None:
    given = problem_of(kind_with(Sine, readout), 150, n_blocks=5).compiled()
    whole, part = begin(given), begin(given.select(torch.tensor([1, 4])))
    whole.advance(2)
    part.advance(2)
    whole.compact(torch.tensor([1, 4]))
    for steps in (whole, part):
        steps.advance(6)
        steps.evaluate()
    assert torch.equal(whole.best_mse, part.best_mse)
    torch.testing.assert_close(whole.best, part.best, rtol=0, atol=0)
