"""Functions of Triton's programs, and how the programs see parameters and pixels."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from block_problems import CPU, Kind, noise, problem_of
from hypothesis import given
from hypothesis import strategies as st
from kernel_problems import DEVICE, KINDS

from miner.fitting.steps import pixel_subset
from miner.kernels.activations import ACTIVATIONS, ActivationOp
from miner.kernels.ops import UnsupportedError
from miner.kernels.triton.math import (
    PART,
    activate,
    product,
    ridge_solution,
    rounded,
    sine_cosine,
    split,
)
from miner.kernels.triton.trainer import Layout, drawn_pixels, pixel_order
from miner.models.encodings import CosineEncoding


@triton.jit
def waves(x, sine, cosine, N: tl.constexpr):
    at = tl.arange(0, N)
    s, c = sine_cosine(tl.load(x + at))
    tl.store(sine + at, s)
    tl.store(cosine + at, c)


@triton.jit
def parts(x, first, rest, nearest, N: tl.constexpr):
    at = tl.arange(0, N)
    a, b = split(tl.load(x + at))
    tl.store(first + at, a)
    tl.store(rest + at, b)
    tl.store(nearest + at, rounded(tl.load(x + at)))


@triton.jit
def multiply(a, b, out, N: tl.constexpr):
    at = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    zero = tl.zeros((N, N), tl.float32)
    tl.store(out + at, product(tl.load(a + at), tl.load(b + at), zero))


@triton.jit
def solve(gram, moment, out, width, ridge, N: tl.constexpr):
    at = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(out + at, ridge_solution(tl.load(gram + at), tl.load(moment + at), width, ridge, N))


class Named(NamedTuple):
    """What `activate` reads of a program."""

    activation: tl.constexpr


@triton.jit
def values_and_slopes(u, shape, out, S, N: tl.constexpr):
    at = tl.arange(0, N)
    value, dvalue, dshape = activate(tl.load(u + at), shape, S)
    tl.store(out + at, value)
    tl.store(out + N + at, dvalue)
    tl.store(out + 2 * N + at, dshape)


@pytest.mark.parametrize("op", ACTIVATIONS, ids=lambda op: op.of.__name__)
def test_every_row_of_the_table_has_its_branch_and_its_value_at_zero(op: ActivationOp) -> None:
    """Derivatives by autograd; a second trained number is the shape where the first is 1."""
    u, shape = (6 * noise(64) - 3).double().requires_grad_(), torch.tensor(0.7).requires_grad_()
    trained = dict(zip(op.of.trained_fields, (torch.ones(()), shape), strict=False))
    value = op.of()(u, trained)
    expected = [value, *torch.autograd.grad(value.sum(), u)]
    found = torch.empty(3, 64, device=DEVICE)
    program = Named(tl.constexpr(op.of.__name__))
    values_and_slopes[(1,)](u.detach().float().to(DEVICE), 0.7, found, program, 64)
    torch.testing.assert_close(found[:2].cpu().double(), torch.stack(expected), rtol=0, atol=1e-5)
    if len(trained) == 2:
        (dshape,) = torch.autograd.grad(op.of()(u, trained).sum(), shape)
        assert float(found[2].sum()) == pytest.approx(float(dshape), abs=1e-4)
    at_zero = op.of()(torch.zeros(()), trained).detach()
    assert op.zero_at_zero == (float(at_zero) == 0)


def test_triton_computes_no_activation_without_a_branch() -> None:
    u, found = torch.zeros(64, device=DEVICE), torch.empty(3, 64, device=DEVICE)
    with pytest.raises(Exception, match="without a branch"):
        values_and_slopes[(1,)](u, 0.7, found, Named(tl.constexpr("Unknown")), 64)


@pytest.mark.parametrize(("largest", "error"), [(6.28, 2**-20.5), (314.0, 2**-14.7)])
def test_sines_and_cosines_are_near_those_of_float64(largest: float, error: float) -> None:
    """Bounds are CUDA's, which only a card can break: the interpreter's sines are NumPy's."""
    x = (largest * (2 * noise(1024) - 1)).to(DEVICE)
    sine, cosine = torch.empty_like(x), torch.empty_like(x)
    waves[(1,)](x, sine, cosine, 1024)
    exact = x.cpu().double()
    assert float((sine.cpu() - exact.sin()).abs().max()) < error
    assert float((cosine.cpu() - exact.cos()).abs().max()) < error


def test_numbers_are_split_and_rounded_to_ten_bits() -> None:
    x = ((2 * noise(1024) - 1) * 10.0 ** (12 * noise(1024, seed=1) - 6)).to(DEVICE)
    first, rest, nearest = (torch.empty_like(x) for _ in range(3))
    parts[(1,)](x, first, rest, nearest, 1024)
    assert torch.equal(first + rest, x)
    for cut in (first, nearest):
        assert not (cut.cpu().view(torch.int32) & 0x1FFF).any()
    assert float((nearest / x - 1).abs().max()) <= 2.0**-11 * (1 + 1e-6)


def test_products_of_parts_have_the_accuracy_of_float32() -> None:
    a, b = (2 * noise(32, 32, seed=seed).to(DEVICE) - 1 for seed in (0, 1))
    found = torch.empty_like(a)
    multiply[(1,)](a, b, found, 32)
    error = (found.cpu() - a.cpu().double() @ b.cpu().double()).abs().max()
    assert float(error) < 1e-5


def test_the_ridge_solution_is_that_of_linear_algebra() -> None:
    width, ridge = 11, 1e-3
    features = noise(40, width).double() - 0.5
    targets = noise(40, 16, seed=1).double()
    gram, moment = torch.zeros(16, 16), torch.zeros(16, 16)
    gram[:width, :width], moment[:width] = features.T @ features, features.T @ targets
    found = torch.empty(16, 16, device=DEVICE)
    solve[(1,)](gram.to(DEVICE), moment.to(DEVICE), found, width, ridge, 16)
    whole = gram.double()[:width, :width]
    penalty = ridge * whole.diagonal().mean() * torch.eye(width)
    expected = np.linalg.solve((whole + penalty).numpy(), moment[:width].double().numpy())
    assert np.abs(found[:width].cpu().numpy() - expected).max() < 1e-4
    assert not found[width:].any()


def test_a_matrix_without_a_solution_gives_zero() -> None:
    gram, found = torch.full((16, 16), torch.nan, device=DEVICE), torch.ones(16, 16, device=DEVICE)
    solve[(1,)](gram, torch.ones(16, 16, device=DEVICE), found, 16, 1e-6, 16)
    assert not found.any()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_parameters_come_back_from_their_rows(kind: Kind) -> None:
    network = problem_of(kind, 9).network
    layout = Layout(network)
    parameters = {name: torch.rand(3, *shape) + 1 for name, shape in network.shapes().items()}
    rows = layout.rows(parameters)
    torch.testing.assert_close(layout.parameters(rows), parameters, rtol=0, atol=0)
    assert rows.shape[1] % PART.value == 0
    assert int((rows != 0).sum()) == 3 * sum(t[0].numel() for t in parameters.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 65}, "model.width=65: more than 64"),
        ({"channels": 16}, "channels=16: more than 15"),
        ({"depth": 5}, "model.depth=5: more than 4"),
        ({"encoding": CosineEncoding(22)}, "outputs=66: more than 64"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        Layout(problem_of(KINDS[1]._replace(**change), 9).network)


@given(st.integers(1, 5000))
def test_the_first_tile_has_pixels_from_all_over_the_patch(n_pixels: int) -> None:
    tile = Layout(problem_of(KINDS[1], 9).network).tile(n_pixels)
    order = pixel_order(n_pixels, tile, CPU)
    assert sorted(order.tolist()) == list(range(n_pixels))
    first = order[:tile].sort().values
    gaps = torch.diff(first, prepend=torch.tensor([-1]), append=torch.tensor([n_pixels]))
    assert int(gaps.max()) <= 2 * -(-n_pixels // tile)


@given(st.integers(2, 200), st.integers(1, 199), st.integers(1, 9))
def test_drawn_pixels_are_those_of_the_plain_steps(n: int, n_drawn: int, n_steps: int) -> None:
    n_drawn = min(n_drawn, n - 1)
    steps = problem_of(KINDS[0], n, n_steps=n_steps).with_steps(batch_pixels=n_drawn).steps
    order = pixel_order(n, 64, CPU)
    found = drawn_pixels(order, steps)
    assert found is not None
    for step, (positions, count) in enumerate(zip(*found, strict=True)):
        expected = pixel_subset(n, n_drawn, step, *steps.key)
        assert torch.equal(order[positions[:count].long()], expected)
