"""Functions of Triton's programs, each in a separate program."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from block_problems import noise
from kernel_problems import DEVICE

from miner.kernels.triton.math import product, ridge_solution, rounded, sine_cosine, split


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


@pytest.mark.parametrize("scale", [1.0, 100.0, 10000.0])
def test_sines_and_cosines_have_the_digits_of_float32(scale: float) -> None:
    x = (scale * (2 * noise(1024) - 1)).to(DEVICE)
    sine, cosine = torch.empty_like(x), torch.empty_like(x)
    waves[(1,)](x, sine, cosine, 1024)
    exact = x.cpu().double()
    assert float((sine.cpu() - exact.sin()).abs().max()) < 3e-7
    assert float((cosine.cpu() - exact.cos()).abs().max()) < 3e-7


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
