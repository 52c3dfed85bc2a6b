"""What a step in Numba is made of: products of strips of pixels, the sine, the ridge solution.

A strip is `(features, STRIP)`. Inner loops run over its pixels and have a known length, so LLVM
makes vectors of them. The blocking of the two products for registers it does not find: that is
spelt out.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.np.unsafe.ndarray import to_fixed_tuple
from problem import N_INPUTS, READOUT, WIDTH

Array = np.ndarray[Any, Any]
F = TypeVar("F", bound=Callable[..., Any])

E, H = N_INPUTS, WIDTH
STRIP = 512  # pixels that pass all layers while they are in the inner caches
assert E % 4 == H % 4 == H % 5 == 0  # the blocking of the products

RIDGE, LADDER = READOUT.ridge, (1.0, 1e2, 1e4, 1e6)
ZERO, HALF, ONE, TWO, PER_PI = map(np.float32, (0, 0.5, 1, 2, 0.31830988618))
PI = tuple(map(np.float32, (3.140625, 9.676218032836914e-4, 3.1786509424591713e-8)))
SINE = tuple(map(np.float32, (2.60578067e-6, -1.98096029e-4, 8.33306625e-3, -1.66666596e-1)))
COSINE = tuple(
    map(np.float32, (-2.60771057e-7, 2.47618863e-5, -1.38884035e-3, 4.16666407e-2, -4.99999995e-1))
)


def summing(function: F) -> F:
    """Compile; sums may be reordered, into vectors. NaN stays NaN: a diverged block must show."""
    fast = {"reassoc", "contract", "nsz", "arcp"}
    return cast(F, numba.njit(function, fastmath=fast, error_model="numpy"))


def exact(function: F) -> F:
    """Compile; order is kept, as the three parts of pi need. Called from Python, frees the GIL."""
    return cast(F, numba.njit(function, fastmath={"contract"}, error_model="numpy", nogil=True))


@summing
def affine(weight: Array, bias: Array, x: Array, out: Array) -> None:
    """out[o] = bias[o] + sum over i of weight[i, o] x[i], four inputs and five outputs at once."""
    for o in range(0, H, 5):
        for k in range(o, o + 5):
            for p in range(STRIP):
                out[k, p] = bias[k]
        for i in range(0, x.shape[0], 4):
            a = to_fixed_tuple(weight[i, o : o + 5], 5)
            b = to_fixed_tuple(weight[i + 1, o : o + 5], 5)
            c = to_fixed_tuple(weight[i + 2, o : o + 5], 5)
            d = to_fixed_tuple(weight[i + 3, o : o + 5], 5)
            for p in range(STRIP):
                xa, xb, xc, xd = x[i, p], x[i + 1, p], x[i + 2, p], x[i + 3, p]
                out[o, p] += a[0] * xa + b[0] * xb + c[0] * xc + d[0] * xd
                out[o + 1, p] += a[1] * xa + b[1] * xb + c[1] * xc + d[1] * xd
                out[o + 2, p] += a[2] * xa + b[2] * xb + c[2] * xc + d[2] * xd
                out[o + 3, p] += a[3] * xa + b[3] * xb + c[3] * xc + d[3] * xd
                out[o + 4, p] += a[4] * xa + b[4] * xb + c[4] * xc + d[4] * xd


@summing
def outer_block(a: Array, i: int, b: Array, j: int, out: Array) -> None:
    """out[i:i+4, j:j+5] += sums over pixels of the products of rows: twenty sums in registers."""
    a0 = a1 = a2 = a3 = a4 = b0 = b1 = b2 = b3 = b4 = ZERO
    c0 = c1 = c2 = c3 = c4 = d0 = d1 = d2 = d3 = d4 = ZERO
    for p in range(STRIP):
        xa, xb, xc, xd = a[i, p], a[i + 1, p], a[i + 2, p], a[i + 3, p]
        y0, y1, y2, y3, y4 = b[j, p], b[j + 1, p], b[j + 2, p], b[j + 3, p], b[j + 4, p]
        a0, a1, a2, a3, a4 = a0 + xa * y0, a1 + xa * y1, a2 + xa * y2, a3 + xa * y3, a4 + xa * y4
        b0, b1, b2, b3, b4 = b0 + xb * y0, b1 + xb * y1, b2 + xb * y2, b3 + xb * y3, b4 + xb * y4
        c0, c1, c2, c3, c4 = c0 + xc * y0, c1 + xc * y1, c2 + xc * y2, c3 + xc * y3, c4 + xc * y4
        d0, d1, d2, d3, d4 = d0 + xd * y0, d1 + xd * y1, d2 + xd * y2, d3 + xd * y3, d4 + xd * y4
    rows = ((a0, a1, a2, a3, a4), (b0, b1, b2, b3, b4), (c0, c1, c2, c3, c4), (d0, d1, d2, d3, d4))
    for r in range(4):
        for k in range(5):
            out[i + r, j + k] += rows[r][k]


@summing
def outer(a: Array, b: Array, upper: bool, out: Array) -> None:
    """Add the products of all rows; `upper` leaves out blocks left of the diagonal."""
    for i in range(0, a.shape[0], 4):
        for j in range(i // 5 * 5 if upper else 0, H, 5):
            outer_block(a, i, b, j, out)


@exact
def sine(values: Array, slopes: Array) -> None:
    """Sine in place, cosine beside it: the polynomials of vectors.h (Numba has no vector sine)."""
    for o in range(H):
        for p in range(STRIP):
            u = values[o, p]
            n = np.rint(u * PER_PI)
            sign = ONE - TWO * (n - TWO * np.floor(n * HALF))
            r = u - n * PI[0] - n * PI[1] - n * PI[2]
            q = r * r
            s = ((SINE[0] * q + SINE[1]) * q + SINE[2]) * q + SINE[3]
            c = ((COSINE[0] * q + COSINE[1]) * q + COSINE[2]) * q + COSINE[3]
            values[o, p] = sign * (s * q * r + r)
            slopes[o, p] = sign * ((c * q + COSINE[4]) * q + ONE)


@exact
def ridge_solve(gram: Array, moment: Array) -> Array:
    """(gram + lambda I)^-1 moment in float64; a larger lambda where that fails, zeros at last."""
    diagonal = 0.0
    for k in range(H):
        diagonal += gram[k, k]
    for rung in LADDER:
        u, x, usable, check = gram.copy(), moment.copy(), True, 0.0
        for k in range(H):
            u[k, k] += rung * RIDGE * max(diagonal / H, 1e-12)
        for k in range(H):  # upper factor, and forward substitution along with it
            usable = usable and u[k, k] > 0 and np.isfinite(u[k, k])
            inverse = 1 / np.sqrt(u[k, k])
            x[k] *= inverse
            for j in range(k, H):
                u[k, j] *= inverse
            for i in range(k + 1, H):
                x[i] -= u[k, i] * x[k]
                for j in range(i, H):
                    u[i, j] -= u[k, i] * u[k, j]
        for i in range(H - 1, -1, -1):
            for j in range(i + 1, H):
                x[i] -= u[i, j] * x[j]
            x[i] /= u[i, i]
            check += x[i]
        if usable and np.isfinite(check):
            return x
    return np.zeros(H)


@summing
def sum_of(row: Array) -> np.float32:
    """Sum over a strip."""
    total = ZERO
    for p in range(STRIP):
        total += row[p]
    return total
