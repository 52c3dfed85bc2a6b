"""Rows of numbers for the compiled optimiser against `torch.optim`, in float64."""

from functools import partial

import pytest
import torch
from problems import noise
from torch import Tensor, nn

from miner.fitting.criteria import ConstantSchedule, CosineSchedule, ExponentialSchedule, Schedule
from miner.fitting.optimizer import OptimizerFactory
from miner.kernels.ops import UnsupportedError, check, row

N_STEPS = 30
OPTIONS = {
    "default": {},
    "betas": {"betas": (0.7, 0.99)},
    "eps": {"eps": 1e-2},
    "decay": {"weight_decay": 0.3},
    "exact": {"eps": 0.0},
}
FACTORIES = {
    f"{name}-{option}": partial(getattr(torch.optim, name), lr=2e-2, **values)
    for name in ("Adam", "AdamW", "RAdam", "NAdam")
    for option, values in OPTIONS.items()
} | {
    "RAdam-decoupled": partial(
        torch.optim.RAdam, lr=2e-2, weight_decay=0.3, decoupled_weight_decay=True
    ),
    "NAdam-decoupled": partial(
        torch.optim.NAdam, lr=2e-2, weight_decay=0.3, decoupled_weight_decay=True
    ),
    "NAdam-momentum": partial(torch.optim.NAdam, lr=2e-2, momentum_decay=0.5),
    "Adam-fused": partial(torch.optim.Adam, lr=2e-2, fused=True),
}
START = noise(7, seed=1).double() - 0.5
GRADIENTS = (noise(N_STEPS, 7).double() - 0.5) * 10.0 ** torch.arange(-3, 4)


def probe(factory: OptimizerFactory) -> torch.optim.Optimizer:
    return factory([nn.Parameter(torch.zeros(1))])


def by_torch(factory: OptimizerFactory, schedule: Schedule) -> Tensor:
    parameter = nn.Parameter(START.clone())
    optimizer = factory([parameter])
    for step, gradient in enumerate(GRADIENTS):
        optimizer.param_groups[0]["lr"] = 2e-2 * schedule.factor(step, N_STEPS)
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


def by_rows(factory: OptimizerFactory, schedule: Schedule) -> Tensor:
    """`update` of block_step.c."""
    x, first, second = START, torch.zeros_like(START), torch.zeros_like(START)
    for step, gradient in enumerate(GRADIENTS):
        rate = 2e-2 * schedule.factor(step, N_STEPS)
        rule = row(probe(factory), rate, step + 1)
        g = gradient + rule.l2 * x
        first = first + rule.rest1 * (g - first)
        second = rule.beta2 * second + rule.rest2 * g.square()
        root = second.sqrt() + rule.eps if rule.divides else 1.0
        x = rule.compact * x - (rule.by_first * first + rule.by_gradient * g) / root
    return x


@pytest.mark.parametrize(
    "schedule", [ConstantSchedule(), CosineSchedule(), ExponentialSchedule(0.8)]
)
@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES.keys())
def test_rows_move_as_the_optimiser(factory: OptimizerFactory, schedule: Schedule) -> None:
    expected = by_torch(factory, schedule)
    # PyTorch holds NAdam's product of momenta in float32.
    tolerance = 1e-8 if factory.func is torch.optim.NAdam else 1e-12
    torch.testing.assert_close(
        by_rows(factory, schedule), expected, rtol=10 * tolerance, atol=tolerance
    )


def test_radam_divides_by_the_root_only_once_its_variance_is_known() -> None:
    optimizer = probe(partial(torch.optim.RAdam, lr=1.0))
    signs = [row(optimizer, 1.0, step)[-1] > 0 for step in range(1, 9)]
    assert signs == [False] * 5 + [True] * 3


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES.keys())
def test_the_family_of_adam_is_known(factory: OptimizerFactory) -> None:
    check(probe(factory))


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adamax", "Rprop"])
def test_other_optimisers_are_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"optimizer {name} "):
        check(probe(partial(getattr(torch.optim, name), lr=1e-2)))


@pytest.mark.parametrize("option", ["amsgrad", "maximize"])
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_options_that_change_the_formula_are_refused_by_name(name: str, option: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"optimizer\.{option}=true"):
        check(probe(partial(getattr(torch.optim, name), lr=1e-2, **{option: True})))


class OwnAdam(torch.optim.Adam):
    """May do anything."""


def test_a_subclass_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="OwnAdam"):
        check(probe(partial(OwnAdam, lr=1e-2)))
