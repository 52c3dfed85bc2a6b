"""SOAP against its definition, one block after another in NumPy and float64."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from block_problems import noise
from numpy.typing import NDArray
from torch import nn

from miner.fitting.soap import SOAP
from miner.fitting.steps import keep_blocks, probe

N_STEPS, LR, EPS = 8, 0.03, 1e-3
Array = NDArray[np.float64]
SHAPES = {"weight": (2, 3, 4), "bias": (2, 4), "number": (2,)}
START = {name: noise(*shape, seed=n).double() for n, (name, shape) in enumerate(SHAPES.items())}
GRADIENTS = {name: noise(N_STEPS, *shape).double() - 0.5 for name, shape in SHAPES.items()}


def by_torch(start: dict[str, torch.Tensor], **settings: Any) -> dict[str, torch.Tensor]:
    parts = {name: nn.Parameter(tensor.clone()) for name, tensor in start.items()}
    optimizer = SOAP(parts.values(), lr=LR, eps=EPS, precondition_frequency=3, **settings)
    for step in range(N_STEPS):
        for name, part in parts.items():
            part.grad = GRADIENTS[name][step].clone()
        optimizer.step()
    return {name: part.detach() for name, part in parts.items()}


def by_definition(x: Array, gradients: Array, is_matrix: bool) -> Array:
    """A matrix moves by Adam in eigenvectors, other numbers by Adam; the first step finds them."""
    beta, rest = 0.98, 0.03
    first, second = np.zeros_like(x), np.zeros_like(x)  # the first moment in the old coordinates
    sums = [np.zeros((n, n)) for n in x.shape] if is_matrix else []
    bases = [np.eye(len(one)) for one in sums]
    for step, g in enumerate(gradients, start=1):
        if is_matrix:
            for one, product in zip(sums, (g @ g.T, g.T @ g), strict=True):
                one += rest * (product - one)
            for _ in range(10 if step == 1 else int(step % 3 == 0)):
                mean = [np.trace(one) / len(one) for one in sums]
                shifted = [
                    one / m + 1e-6 * np.eye(len(one)) for one, m in zip(sums, mean, strict=True)
                ]
                bases = [
                    np.linalg.qr(s @ basis)[0] for s, basis in zip(shifted, bases, strict=True)
                ]
        if step == 1:
            continue
        first += (1 - beta) * (g - first)
        turned, moment = g, first
        if is_matrix:
            turned, moment = (bases[0].T @ one @ bases[1] for one in (g, first))
        second = beta * second + (1 - beta) * turned**2
        correct = 1 - beta ** (step - 1)
        move = LR * (moment / correct) / (np.sqrt(second / correct) + EPS)
        x = x - (bases[0] @ move @ bases[1].T if is_matrix else move)
    return x


def test_it_moves_as_defined_with_a_bias_as_the_last_row_of_its_weights() -> None:
    found = by_torch(START)
    for block in range(2):
        joined = np.vstack([START["weight"][block], START["bias"][block]])
        parts = [GRADIENTS["weight"][:, block], GRADIENTS["bias"][:, block, None]]
        expected = by_definition(joined, np.concatenate(parts, 1), is_matrix=True)
        layer = np.vstack([found["weight"][block], found["bias"][block]])
        np.testing.assert_allclose(layer, expected, atol=1e-7)
        number = by_definition(
            START["number"][block].numpy(), GRADIENTS["number"][:, block].numpy(), False
        )
        np.testing.assert_allclose(found["number"][block], number, atol=1e-12)


def test_the_first_step_moves_nothing() -> None:
    part = nn.Parameter(START["weight"].clone())
    part.grad = GRADIENTS["weight"][0]
    SOAP([part]).step()
    assert torch.equal(part.detach(), START["weight"])


def test_blocks_move_alone_and_go_on_when_others_leave() -> None:
    probe(partial(SOAP, lr=0.1))
    parts = {name: nn.Parameter(tensor.clone()) for name, tensor in START.items()}
    optimizer: torch.optim.Optimizer = SOAP(
        parts.values(), lr=LR, eps=EPS, precondition_frequency=3
    )
    second = torch.tensor([1])
    for step in range(N_STEPS):
        for name, part in parts.items():
            gradient = GRADIENTS[name][step]
            part.grad = gradient[second] if len(part) == 1 else gradient.clone()
        optimizer.step()
        if step == 3:
            parts = keep_blocks(optimizer, parts, second)
    for name, whole in by_torch(START).items():
        torch.testing.assert_close(parts[name].detach(), whole[second])


def test_a_block_without_gradients_stays() -> None:
    part = nn.Parameter(START["weight"].clone())
    optimizer = SOAP([part], lr=LR, precondition_frequency=1)
    for gradient in GRADIENTS["weight"]:
        part.grad = gradient * torch.tensor([0.0, 1.0]).view(2, 1, 1)
        optimizer.step()
    assert torch.equal(part[0].detach(), START["weight"][0])
    assert part.isfinite().all() and not torch.equal(part[1].detach(), START["weight"][1])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": -1.0}, "lr=-1"),
        ({"eps": float("nan")}, "eps=nan"),
        ({"precondition_frequency": 0}, "precondition_frequency=0"),
        ({"betas": (0.9, 1.0)}, "below 1"),
        ({"shampoo_beta": -0.1}, "shampoo_beta=-0.1"),
    ],
)
def test_numbers_out_of_range_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SOAP([nn.Parameter(START["weight"].clone())], **settings)
