"""Activations, products, readout and update of Triton's programs."""

import triton
import triton.language as tl
from triton.language.extra.cuda import libdevice

from miner.kernels.ops import HEADS
from miner.models.heads import ScaledSineHead, SigmoidHead

SIGMOID = tl.constexpr(HEADS.index(SigmoidHead))
SCALED_SINE = tl.constexpr(HEADS.index(ScaledSineHead))
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)  # which knows none of libdevice
PART = tl.constexpr(256)  # numbers of a row that are moved at once


@triton.jit
def activate(u, shape, S):
    """Value of scaled pre-activations, and its derivatives with respect to them and the shape."""
    dshape = u
    if S.activation == "Gaussian":
        value = tl.exp(-u * u)
        dvalue = -2.0 * u * value
    elif S.activation == "ReLU":
        value = tl.where(u <= 0.0, 0.0, u)  # a NaN stays one
        dvalue = tl.where(u <= 0.0, 0.0, 1.0)
    elif S.activation == "Gabor":
        sine, cosine = sine_cosine(u)
        envelope = tl.exp(-(shape * u) * (shape * u))
        value = cosine * envelope
        dvalue = -sine * envelope - 2.0 * shape * shape * u * value
        dshape = -2.0 * shape * u * u * value
    elif S.activation == "Finer":
        value, cosine = sine_cosine((tl.abs(u) + 1.0) * u)
        dvalue = cosine * (2.0 * tl.abs(u) + 1.0)
    elif S.activation == "Sine" or S.activation == "Siren":
        value, dvalue = sine_cosine(u)
    else:
        tl.static_assert(False, "an activation without a branch")
    return value, dvalue, dshape


@triton.jit
def sine_cosine(x):
    """sin and cos by the special function unit: to 2^-21 for x within pi of zero.

    Beyond, x / 2 pi is rounded to float32, without a reduction to one period: that errs by up to
    2^-23 |x|, about the last digit of x itself.
    """
    if INTERPRETED:
        return tl.sin(x), tl.cos(x)
    return libdevice.fast_sinf(x), libdevice.fast_cosf(x)


@triton.jit
def split(x):
    """A number as the sum of its first 10 bits and the rest, which 10 bits nearly hold."""
    first = (x.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)
    return first, x - first


@triton.jit
def product(a, b, acc):
    """acc + a b to some 2^-21 from three products: Ootomo and Yokota 2022 (arXiv 2203.03341)."""
    a_first, a_rest = split(a)
    b_first, b_rest = split(b)
    acc = tl.dot(a_rest, b_first, acc=acc, input_precision="tf32")
    acc = tl.dot(a_first, b_rest, acc=acc, input_precision="tf32")
    return tl.dot(a_first, b_first, acc=acc, input_precision="tf32")


@triton.jit
def rounded(x):
    """The nearest number of 10 bits: tensor cores would truncate, which has a bias."""
    bits = x.to(tl.int32, bitcast=True)
    return ((bits + 4096) & -8192).to(tl.float32, bitcast=True)


@triton.jit
def gradient_product(a, b, acc, S):
    """acc + a b, with 10 bits where the activation allows it."""
    if S.tf32_gradients:
        acc = tl.dot(rounded(a), rounded(b), acc=acc, input_precision="tf32")
    else:
        acc = product(a, b, acc)
    return acc


@triton.jit
def folded(x):
    """Sums `(tile / 16, 8, width)` of pairs of rows, which a thread holds in tensor cores' results.

    Loops over tiles add these up: registers for half the rows.
    """
    return tl.sum(tl.reshape(x, (x.shape[0] // 16, 2, 8, x.shape[1])), axis=1)


@triton.jit
def respond(z, amplitude, frequency, S):
    """Output of the head for z, and its derivatives with respect to z and the frequency."""
    if S.head == SIGMOID:
        value = 1.0 / (1.0 + tl.exp(-z))
        dvalue = value * (1.0 - value)
        dfrequency = z
    elif S.head == SCALED_SINE:
        sine, cosine = sine_cosine(frequency * z)
        value = amplitude * sine
        dvalue = amplitude * frequency * cosine
        dfrequency = amplitude * z * cosine
    else:
        value, dfrequency = z, z
        dvalue = z * 0.0 + 1.0
    return value, dvalue, dfrequency


@triton.jit
def ridge_solution(gram, moment, n_features, ridge, WIDTH: tl.constexpr):
    """Solve `(gram + penalty I) W = moment` with penalties as in fitting/readout.py, or zeros."""
    rows = tl.arange(0, WIDTH)
    on_diagonal = rows[:, None] == rows[None, :]
    mean = tl.sum(tl.sum(tl.where(on_diagonal, gram, 0.0), axis=1), axis=0) / n_features
    penalty = ridge * tl.where(mean < 1e-12, 1e-12, mean)
    solution = moment * 0.0
    tries = 0
    while tries < 4:
        matrix = gram + tl.where(on_diagonal, penalty, 0.0)
        candidate, n_failures = _eliminate(matrix, moment, n_features, WIDTH)
        if n_failures == 0:
            solution = candidate
            tries = 4
        penalty = penalty * 100.0
        tries += 1
    return solution


@triton.jit
def _eliminate(matrix, right, n_features, WIDTH: tl.constexpr):
    """Gauss-Jordan elimination, one loop instead of Cholesky's three; how many pivots failed."""
    rows = tl.arange(0, WIDTH)
    n_failures = 0
    for k in range(n_features):
        here = rows == k
        is_row = here[:, None]
        column = tl.sum(tl.where(here[None, :], matrix, 0.0), axis=1)
        row = tl.sum(tl.where(is_row, matrix, 0.0), axis=0)
        right_row = tl.sum(tl.where(is_row, right, 0.0), axis=0)
        pivot = tl.sum(tl.where(here, column, 0.0), axis=0)
        is_usable = (pivot > 0.0) & (pivot < float("inf"))
        n_failures += tl.where(is_usable, 0, 1)
        inverse = 1.0 / tl.where(is_usable, pivot, 1.0)
        ratio = tl.where(here, 0.0, column * inverse)[:, None]
        matrix = tl.where(is_row, row[None, :] * inverse, matrix - ratio * row[None, :])
        right = tl.where(is_row, right_row[None, :] * inverse, right - ratio * right_row[None, :])
    total = tl.sum(tl.sum(tl.abs(right), axis=1), axis=0)
    n_failures += tl.where(total < float("inf"), 0, 1)
    return right, n_failures


@triton.jit
def update(row, first, second, grads, factor, coefficients, TRAINED: tl.constexpr):
    """One step of an optimiser of Adam's family; `Coefficients` says what they hold."""
    numbers = ()
    for n in tl.static_range(9):
        numbers = numbers + (tl.load(coefficients + n),)
    l2, decay, rest1, beta2, rest2, by_first, by_gradient, eps, divides = numbers  # type: ignore[misc]
    for part in range(TRAINED // PART):
        at = part * PART + tl.arange(0, PART)
        p = tl.load(row + at)
        m = tl.load(first + at)
        g = factor * tl.load(grads + at) + l2 * p
        m = m + rest1 * (g - m)
        v = beta2 * tl.load(second + at) + rest2 * g * g
        root = tl.where(divides != 0.0, tl.sqrt(v) + eps, 1.0)
        root = tl.where(root == 0.0, 1.0, root)  # of padding
        tl.store(row + at, decay * p - (by_first * m + by_gradient * g) / root)
        tl.store(first + at, m)
        tl.store(second + at, v)
