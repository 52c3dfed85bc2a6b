"""The closed-form readout against a least squares solver, its gradient, and what breaks solvers."""

from collections.abc import Callable

import pytest
import torch
from block_problems import READOUTS, Problem, noise, problem
from problems import least_squares, penalty
from torch import Tensor

from miner.fitting.readout import ClosedFormReadout, LearnedReadout
from miner.models.activations import Activation, Gaussian, Sine
from miner.models.heads import LinearHead, ScaledSineHead, SigmoidHead
from miner.models.network import Parameters

N_FEATURES = 6


def error(features: Tensor, targets: Tensor, readout: Parameters) -> Tensor:
    return (LinearHead().outputs(features, readout) - targets).square().mean(dim=(1, 2))


@pytest.mark.parametrize("ridge", [1e-6, 1e-2])
@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("n_pixels", [2, 6, 7, 50])
def test_closed_form_is_the_ridge_solution(n_pixels: int, n_channels: int, ridge: float) -> None:
    features = noise(4, N_FEATURES, n_pixels).double()
    targets = noise(4, n_channels, n_pixels, seed=1).double()
    solved = ClosedFormReadout(ridge).solve(features, targets, {})
    expected = least_squares(features, targets, penalty(features, ridge))
    torch.testing.assert_close(solved, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("activation", [Sine(), Gaussian()])
def test_the_gradient_is_that_of_the_reduced_objective(activation: Activation) -> None:
    readout = ClosedFormReadout(ridge=1e-2)
    given = problem(activation=activation, n_blocks=2)
    start = {name: tensor.requires_grad_() for name, tensor in given.start.items()}
    features = given.network.model.features(start, given.encoded)
    solved = readout.solve(features, given.targets, start)
    (LinearHead().outputs(features, solved) - given.targets).square().sum().backward()
    frozen = penalty(features.detach(), readout.ridge)
    for seed in range(4):
        towards = {name: noise(*t.shape, seed=seed).to(t) - 0.5 for name, t in start.items()}
        derivative = sum(float((start[name].grad * towards[name]).sum()) for name in start)
        ends = [reduced_objective(given, towards, step, frozen) for step in (1e-5, -1e-5)]
        assert derivative == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


def reduced_objective(given: Problem, towards: Parameters, step: float, frozen: Tensor) -> float:
    """Minimum over W of |F W - T|^2 + lambda |W|^2, summed over blocks, a step away."""
    moved = {name: tensor.detach() + step * towards[name] for name, tensor in given.start.items()}
    features = given.network.model.features(moved, given.encoded)
    best = least_squares(features, given.targets, frozen)
    residual = (LinearHead().outputs(features, best) - given.targets).square().sum()
    return float(residual + (frozen * best["readout.weight"].square().sum((1, 2))).sum())


def test_solving_is_outside_autograd_and_keeps_the_precision() -> None:
    features = noise(2, N_FEATURES, 9).requires_grad_()
    solved = ClosedFormReadout().solve(features, noise(2, 1, 9), {})
    assert not any(tensor.requires_grad for tensor in solved.values())
    assert {tensor.dtype for tensor in solved.values()} == {torch.float32}


def test_single_precision_features_lose_nothing_that_counts() -> None:
    features, targets = noise(50, 20, 256) - 0.5, noise(50, 3, 256, seed=1)
    single = error(features, targets, ClosedFormReadout().solve(features, targets, {}))
    features, targets = features.double(), targets.double()
    double = error(features, targets, ClosedFormReadout().solve(features, targets, {}))
    assert float((single / double).max()) < 1.0001


@pytest.mark.parametrize("spread", [1e-2, 3e-3, 1e-3, 1e-4, 1e-5])
def test_nearly_constant_features_are_no_worse_than_the_mean(spread: float) -> None:
    features, targets = 1.3 + spread * noise(200, 20, 64), noise(200, 3, 64, seed=1)
    solved = ClosedFormReadout().solve(features, targets, {})
    variance = targets.var(-1, correction=0).mean(-1)
    assert float((error(features, targets, solved) / variance).max()) < 1.001


DEGENERATE: dict[str, Callable[[Tensor], Tensor]] = {
    "all_zero": torch.zeros_like,
    "constant": lambda features: torch.full_like(features, 0.7),
    "one_dead": lambda features: features * (torch.arange(N_FEATURES) > 0)[:, None],
    "duplicates": lambda features: features[:, :1].expand_as(features).contiguous(),
    "fewer_pixels_than_features": lambda features: features[..., :3],
    "one_pixel": lambda features: features[..., :1],
    "huge": lambda features: features * 1e15,
    "tiny": lambda features: features * 1e-25,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", DEGENERATE.values(), ids=DEGENERATE.keys())
def test_degenerate_features_are_no_worse_than_the_mean(
    make: Callable[[Tensor], Tensor], dtype: torch.dtype
) -> None:
    features = make(noise(5, N_FEATURES, 40)).to(dtype)
    targets = noise(5, 2, features.shape[-1], seed=1).to(dtype)
    solved = ClosedFormReadout().solve(features, targets, {})
    variance = targets.var(-1, correction=0).mean(-1)
    assert bool((error(features, targets, solved) <= 1.001 * variance + 1e-9).all())


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e30])
def test_features_that_are_not_finite_give_the_mean_of_the_targets(value: float) -> None:
    features, targets = noise(3, N_FEATURES, 9), noise(3, 2, 9, seed=1)
    features[1, 2, 3] = value
    solved = ClosedFormReadout().solve(features, targets, {})
    assert torch.equal(solved["readout.weight"][1], torch.zeros(N_FEATURES, 2))
    torch.testing.assert_close(solved["readout.bias"][1], targets[1].mean(-1))


def test_a_ridge_too_small_to_solve_with_is_raised() -> None:
    features = noise(50, 4, 40).double()[:, [0, 1, 2, 2, 3, 0]]
    targets = features[:, :2] - features[:, 2:4]
    solved = ClosedFormReadout(ridge=1e-18).solve(features, targets, {})
    assert float(error(features, targets, solved).max()) < 1e-8


def test_closed_form_candidates_have_smaller_and_smaller_weights() -> None:
    features, targets = noise(3, 20, 30), noise(3, 2, 30, seed=1)
    found = [each.solve(features, targets, {}) for each in ClosedFormReadout().candidates()]
    first = ClosedFormReadout().solve(features, targets, {})
    torch.testing.assert_close(found[0], first, rtol=0, atol=0)
    sizes = [float(solved["readout.weight"].norm()) for solved in found]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.9 * sizes[0]


def test_heads_and_draws_of_the_readouts() -> None:
    heads = {name: readout.head(signed) for name, (readout, signed) in READOUTS.items()}
    assert heads == {
        "closed_form": LinearHead(),
        "sigmoid": SigmoidHead(),
        "scaled_sine": ScaledSineHead(),
    }
    assert ClosedFormReadout().draw(LinearHead().shapes(4, 2), torch.Generator()) == {}
    drawn = LearnedReadout(0.3).draw(ScaledSineHead().shapes(400, 5), torch.Generator())
    assert set(drawn) == {"readout.weight", "readout.bias", "readout.frequency"}
    assert 0.045 < float(drawn["readout.weight"].abs().max()) <= 0.05  # as a linear layer
    assert float(drawn["readout.frequency"]) == pytest.approx(0.3)
