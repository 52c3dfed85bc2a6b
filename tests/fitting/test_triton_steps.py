"""Triton's steps against plain ones: the truth is float64, the bar what float32 costs PyTorch."""

from dataclasses import replace
from itertools import cycle

import pytest
import torch
from fused_problems import KINDS, OPTIMIZERS, Kind, distance, gradients, problem_of, size
from gpu_problems import DEVICE, begin_in_triton, in_triton, small, three_ways
from problems import Problem
from torch import Tensor

from miner.fitting.criteria import AbsoluteMSEPruning, LogMSELoss, Loss, MSELoss
from miner.fitting.readout import ClosedFormReadout
from miner.kernels.backend import TritonBackend
from miner.models.activations import Finer, Sine, Siren
from miner.models.encodings import CosineEncoding
from miner.models.parameters import select

SOLVED = [kind for kind in KINDS if kind.readout == "closed_form"]
SIREN = Kind("closed_form", Siren(), CosineEncoding(3), 2, width=7, depth=2, channels=1)


def roots(mse: Tensor) -> Tensor:
    return mse.double().cpu().sqrt()


def check_errors(truth: Tensor, single: Tensor, found: Tensor, floor: float) -> None:
    """Roots of mean squares are compared: rounding adds to the residuals."""
    usual = float((roots(single) - roots(truth)).abs().max())
    assert float((roots(found) - roots(truth)).abs().max()) <= 30 * usual + floor


def check_gradients(given: Problem) -> None:
    """Adam's first moment after a step from zero is 1 - beta1 of the gradient."""
    truth, single, triton = three_ways(given.with_steps(optimizer=torch.optim.Adam))
    for steps in (truth, single, triton):
        steps.advance(1)
    expected = gradients(truth)
    found = {name: 10 * t.cpu() for name, t in triton._layout.parameters(triton._first).items()}
    usual = distance(gradients(single), expected)
    is_sine = isinstance(given.model.mlp.activation, Sine | Siren | Finer)
    floor = 5e-3 if is_sine else 1e-5  # gradients of sines are products of 10 bits
    assert distance(found, expected) <= 30 * usual + floor * size(expected)


def check_a_few_steps(given: Problem) -> None:
    """Steps in two goes and a last measurement; the best state is as good as it is said to be."""
    truth, single, triton = three_ways(given)
    for steps in (truth, single, triton):
        steps.advance(3)
        steps.evaluate()
        steps.advance(given.steps.n_steps - 3)
        steps.evaluate()
    check_errors(truth.mse, single.mse, triton.mse, floor=3e-4)
    check_errors(truth.best_mse, single.best_mse, triton.best_mse, floor=3e-4)
    best = {name: tensor.double().cpu() for name, tensor in triton.best.items()}
    check_errors(given.measured(best), single.best_mse, triton.best_mse, floor=3e-4)


@pytest.mark.parametrize("loss", [MSELoss(), LogMSELoss(floor=0.05)], ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_gradients_are_those_of_every_activation_and_readout(kind: Kind, loss: Loss) -> None:
    check_gradients(small(kind, loss=loss))


@pytest.mark.parametrize(
    ("kind", "optimizer"), list(zip(KINDS, cycle(OPTIMIZERS), strict=False)), ids=str
)
def test_every_kind_of_network_takes_the_steps_of_an_optimiser(kind: Kind, optimizer: str) -> None:
    check_a_few_steps(small(kind, n_steps=5, optimizer=OPTIMIZERS[optimizer]))


@pytest.mark.parametrize("n_drawn", [20, 64])
@pytest.mark.parametrize("kind", [KINDS[2], KINDS[7], KINDS[13]], ids=str)
def test_drawn_pixels_are_those_of_the_plain_steps(kind: Kind, n_drawn: int) -> None:
    check_a_few_steps(small(kind, n_steps=5).with_steps(batch_pixels=n_drawn))


@pytest.mark.parametrize("n_pixels", [1, 5, 64])
@pytest.mark.parametrize("kind", SOLVED[1:3], ids=str)
def test_few_pixels_are_fitted_as_well_as_by_plain_steps(kind: Kind, n_pixels: int) -> None:
    truth, single, triton = three_ways(small(kind, n_pixels))
    for steps in (truth, single, triton):
        steps.advance(4)
    check_errors(truth.best_mse, single.best_mse, triton.best_mse, floor=1e-4)


@pytest.mark.parametrize(("width", "inputs"), [(16, 3), (17, 9), (40, 3)])
def test_sides_are_padded_without_a_trace(width: int, inputs: int) -> None:
    check_gradients(problem_of(SIREN._replace(width=width, encoding=CosineEncoding(inputs)), 90, 1))


def test_the_ridge_is_that_of_the_readout() -> None:
    check_gradients(replace(small(SIREN), readout=ClosedFormReadout(0.1)))


def test_features_that_depend_on_each_other_are_solved_with_a_larger_penalty() -> None:
    given = small(SIREN)
    for layer in (0, 1):  # all features alike
        for name in (f"hidden.{layer}.weight", f"hidden.{layer}.bias"):
            given.start[name].copy_(given.start[name][..., :1].expand_as(given.start[name]))
    given = replace(given, readout=ClosedFormReadout(1e-18))
    truth, single, triton = three_ways(given)
    for steps in (truth, single, triton):
        steps.advance(1)
    check_errors(truth.mse, single.mse, triton.mse, floor=1e-4)


@pytest.mark.parametrize("kind", [KINDS[1], KINDS[6], KINDS[14]], ids=str)
def test_a_parameter_that_is_no_number_shows_in_the_error_of_its_block(kind: Kind) -> None:
    given = small(kind, n_blocks=3)
    given.start["hidden.0.weight"][1, 0, 0] = torch.nan
    triton = begin_in_triton(given)
    triton.advance(1)
    assert triton.mse.isfinite().tolist() == [True, False, True]
    assert triton.best_mse.isfinite().tolist() == [True, False, True]


@pytest.mark.parametrize("kind", [KINDS[1], KINDS[15]], ids=str)
def test_a_block_does_not_know_of_others(kind: Kind) -> None:
    given = small(kind, n_blocks=3)
    together, alone = begin_in_triton(given), begin_in_triton(given.select(torch.tensor([2])))
    for steps in (together, alone):
        steps.advance(2)
    assert torch.equal(together.mse[2:], alone.mse)
    torch.testing.assert_close(select(together.best, torch.tensor([2])), alone.best, rtol=0, atol=0)


def test_steps_in_two_goes_are_those_in_one() -> None:
    given = small(SIREN).with_steps(n_steps=4)
    whole, parts = begin_in_triton(given), begin_in_triton(given)
    whole.advance(3)
    parts.advance(1)
    parts.advance(2)
    assert torch.equal(whole._trained, parts._trained)
    torch.testing.assert_close(whole.best, parts.best, rtol=0, atol=0)


def test_measuring_moves_nothing() -> None:
    given = small(SIREN).with_steps(n_steps=2)
    steps = begin_in_triton(given)
    steps.advance(2)
    before = [t.clone() for t in (steps._trained, steps._first, steps._second)]
    steps.evaluate()
    after = (steps._trained, steps._first, steps._second)
    layers = steps._layout.at_readout  # what lies beyond is solved for
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old[:, :layers], new[:, :layers])


def test_blocks_that_leave_stay_as_they_are() -> None:
    given = small(SIREN, n_blocks=3)
    some, all_ = begin_in_triton(given), begin_in_triton(given)
    leaves = torch.tensor([False, True, False], device=DEVICE)
    for steps in (some, all_):
        steps.advance(1)
    mse, best = some.mse.clone(), select(some.best, leaves)
    some.deactivate(leaves)
    for steps in (some, all_):
        steps.advance(2)
    assert torch.equal(some.mse[leaves], mse[leaves])
    torch.testing.assert_close(select(some.best, leaves), best, rtol=0, atol=0)
    assert torch.equal(some.mse[~leaves], all_.mse[~leaves])


@pytest.mark.parametrize("n_drawn", [None, 40])
def test_a_fit_ends_as_that_of_plain_steps(n_drawn: int | None) -> None:
    given = small(SIREN, n_steps=8).with_steps(batch_pixels=n_drawn)
    pruning, bound = AbsoluteMSEPruning(4), 3e-3
    plain, triton = given.fit(pruning, bound), in_triton(given).fit(pruning, bound)
    check_errors(plain.mse, plain.mse, triton.mse, floor=3e-4)
    assert triton.converged.tolist() == plain.converged.tolist()
    assert [point[0] for point in triton.curve][: len(plain.curve)] == [p[0] for p in plain.curve]


@pytest.mark.parametrize("kind", [KINDS[2], KINDS[7], KINDS[13], KINDS[4]], ids=str)
def test_rendered_values_are_those_of_the_model(kind: Kind) -> None:
    given = small(kind)
    readouts = given.model.head.shapes(given.model.mlp.width, kind.channels)
    missing = {name: torch.rand(len(given.targets), *shape) for name, shape in readouts.items()}
    parameters = {name: t.float().to(DEVICE) for name, t in (missing | given.start).items()}
    encoded = given.encoded.float().to(DEVICE)
    found = TritonBackend().outputs(given.model, parameters, encoded)
    torch.testing.assert_close(found, given.model.outputs(parameters, encoded), rtol=0, atol=1e-4)
