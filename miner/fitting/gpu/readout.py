"""The output layer in Triton: fitting/readout.py and models/heads.py."""

import triton
import triton.language as tl

from miner.fitting.gpu.activations import sine_cosine

# The order of `_HEADS` in fitting/fused/network.py.
LINEAR = tl.constexpr(0)
SIGMOID = tl.constexpr(1)
SCALED_SINE = tl.constexpr(2)


@triton.jit
def respond(z, amplitude, frequency, HEAD: tl.constexpr):
    """Output of the head for z, its slope, and its slope with respect to the frequency."""
    if HEAD == SIGMOID:
        value = 1.0 / (1.0 + tl.exp(-z))
        slope = value * (1.0 - value)
        by_frequency = z
    elif HEAD == SCALED_SINE:
        sine, cosine = sine_cosine(frequency * z)
        value = amplitude * sine
        slope = amplitude * frequency * cosine
        by_frequency = amplitude * z * cosine
    else:
        value = z
        slope = z * 0.0 + 1.0
        by_frequency = z
    return value, slope, by_frequency


@triton.jit
def ridge_solution(gram, moment, width, ridge, HP: tl.constexpr):
    """Solve `(gram + penalty I) W = moment`, `(HP, HP)` and `(HP, CP)`, in float32.

    That is enough: results/rounding.tsv. Rows beyond `width` are zero in both and stay so. A matrix
    that is not positive definite is tried again with a larger penalty, up to 1e6 times; where that
    does not help W is zero.
    """
    rows = tl.arange(0, HP)
    on_diagonal = rows[:, None] == rows[None, :]
    mean = tl.sum(tl.sum(tl.where(on_diagonal, gram, 0.0), axis=1), axis=0) / width
    penalty = ridge * tl.where(mean < 1e-12, 1e-12, mean)
    solution = moment * 0.0
    tries = 0
    while tries < 4:
        matrix = gram + tl.where(on_diagonal, penalty, 0.0)
        tried, n_failures = _eliminate(matrix, moment, width, HP)
        if n_failures == 0:
            solution = tried
            tries = 4
        penalty = penalty * 100.0
        tries += 1
    return solution


@triton.jit
def _eliminate(matrix, right, width, HP: tl.constexpr):
    """Gauss and Jordan's elimination of the first rows, and how much of it failed.

    One loop instead of a factorisation and two substitutions of as many dependent steps each. The
    pivots are the squares of Cholesky's, so they are positive where that succeeds.
    """
    rows = tl.arange(0, HP)
    n_failures = 0
    for k in range(width):
        here = rows == k
        column = tl.sum(tl.where(here[None, :], matrix, 0.0), axis=1)
        row = tl.sum(tl.where(here[:, None], matrix, 0.0), axis=0)
        right_row = tl.sum(tl.where(here[:, None], right, 0.0), axis=0)
        pivot = tl.sum(tl.where(here, column, 0.0), axis=0)
        is_usable = (pivot > 0.0) & (pivot < float("inf"))
        n_failures += tl.where(is_usable, 0, 1)
        inverse = 1.0 / tl.where(is_usable, pivot, 1.0)
        ratio = tl.where(here, 0.0, column * inverse)[:, None]
        is_row = here[:, None]
        matrix = tl.where(is_row, row[None, :] * inverse, matrix - ratio * row[None, :])
        right = tl.where(is_row, right_row[None, :] * inverse, right - ratio * right_row[None, :])
    total = tl.sum(tl.sum(tl.abs(right), axis=1), axis=0)
    n_failures += tl.where(total < float("inf"), 0, 1)
    return right, n_failures
