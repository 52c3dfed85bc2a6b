"""Coefficients of the compiled optimiser against `torch.optim`, in float64."""

from functools import partial

import pytest
import torch
from block_problems import noise, problem_of
from kernel_problems import kind_with
from torch import Tensor, nn

from miner.fitting.criteria import ConstantSchedule, CosineSchedule, ExponentialSchedule, Schedule
from miner.fitting.steps import OptimizerFactory
from miner.kernels.ops import UnsupportedError, adam_coefficients, coefficients_of
from miner.models.activations import Sine

N_STEPS = 30
OPTIONS = {
    "default": {},
    "betas": {"betas": (0.7, 0.99)},
    "eps": {"eps": 1e-2},
    "decay": {"weight_decay": 0.3},
    "exact": {"eps": 0.0},
}
DECOUPLED = {"lr": 2e-2, "weight_decay": 0.3, "decoupled_weight_decay": True}
FACTORIES = {
    f"{name}-{option}": partial(getattr(torch.optim, name), lr=2e-2, **values)
    for name in ("Adam", "AdamW", "RAdam", "NAdam")
    for option, values in OPTIONS.items()
} | {
    "RAdam-decoupled": partial(torch.optim.RAdam, **DECOUPLED),
    "NAdam-decoupled": partial(torch.optim.NAdam, **DECOUPLED),
    "NAdam-momentum": partial(torch.optim.NAdam, lr=2e-2, momentum_decay=0.5),
    "Adam-fused": partial(torch.optim.Adam, lr=2e-2, fused=True),
}
START = noise(7, seed=1).double() - 0.5
GRADIENTS = (noise(N_STEPS, 7).double() - 0.5) * 10.0 ** torch.arange(-3, 4)


def probe(factory: OptimizerFactory) -> torch.optim.Optimizer:
    return factory([nn.Parameter(torch.zeros(1))])


def check(factory: OptimizerFactory) -> None:
    coefficients_of(problem_of(kind_with(Sine), 9, optimizer=factory).steps)


def by_torch(factory: OptimizerFactory, schedule: Schedule) -> Tensor:
    parameter = nn.Parameter(START.clone())
    optimizer = factory([parameter])
    for step, gradient in enumerate(GRADIENTS):
        optimizer.param_groups[0]["lr"] = 2e-2 * schedule.factor(step, N_STEPS)
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


def by_coefficients(factory: OptimizerFactory, schedule: Schedule) -> Tensor:
    """`update` of block_step.c."""
    x, first, second = START, torch.zeros_like(START), torch.zeros_like(START)
    for step, gradient in enumerate(GRADIENTS):
        rate = 2e-2 * schedule.factor(step, N_STEPS)
        c = adam_coefficients(probe(factory), rate, step + 1)
        g = gradient + c.l2 * x
        first = first + c.rest1 * (g - first)
        second = c.beta2 * second + c.rest2 * g.square()
        root = second.sqrt() + c.eps if c.divides else 1.0
        x = c.decay * x - (c.by_first * first + c.by_gradient * g) / root
    return x


@pytest.mark.parametrize(
    "schedule", [ConstantSchedule(), CosineSchedule(), ExponentialSchedule(0.8)]
)
@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES.keys())
def test_coefficients_move_as_the_optimiser(factory: OptimizerFactory, schedule: Schedule) -> None:
    check(factory)
    expected = by_torch(factory, schedule)
    # PyTorch holds NAdam's product of momenta in float32.
    tolerance = 1e-8 if factory.func is torch.optim.NAdam else 1e-12
    torch.testing.assert_close(
        by_coefficients(factory, schedule), expected, rtol=10 * tolerance, atol=tolerance
    )


def test_radam_divides_by_the_root_only_once_its_variance_is_known() -> None:
    optimizer = probe(partial(torch.optim.RAdam, lr=1.0))
    divides = [adam_coefficients(optimizer, 1.0, step).divides for step in range(1, 9)]
    assert divides == [0.0] * 5 + [1.0] * 3


class OwnAdam(torch.optim.Adam):
    """May do anything."""


REFUSED = {
    f"optimizer {one.__name__} ": partial(one, lr=1e-2)
    for one in (torch.optim.SGD, torch.optim.Adamax, OwnAdam)
} | {
    f"optimizer.{option}=true": partial(torch.optim.AdamW, lr=1e-2, **{option: True})
    for option in ("amsgrad", "maximize")
}


@pytest.mark.parametrize("words", REFUSED)
def test_other_optimisers_and_formulas_are_refused_by_name(words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        check(REFUSED[words])
