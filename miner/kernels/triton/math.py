"""Activations, products, tiles, readout and update of the Triton programs."""

import triton
import triton.language as tl

# The order of `_ACTIVATIONS` in fitting/fused/network.py.
GAUSSIAN = tl.constexpr(0)


SINE = tl.constexpr(1)


SIREN = tl.constexpr(2)


RELU = tl.constexpr(3)


GABOR = tl.constexpr(4)


FINER = tl.constexpr(5)


@triton.jit
def scale_and_shape(first, second, omega, ACTIVATION: tl.constexpr):
    """The factor on z, and Gabor's shape, from a layer's trained numbers."""
    scale = first * 0.0 + 1.0
    shape = scale
    if ACTIVATION == GAUSSIAN:
        scale = 0.7071067811865476 / first
    elif ACTIVATION == SINE or ACTIVATION == FINER:
        scale = 1.0 / first
    elif ACTIVATION == SIREN:
        scale = scale * omega
    elif ACTIVATION == GABOR:
        scale = first
        shape = second / first
    return scale, shape


@triton.jit
def activate(u, shape, ACTIVATION: tl.constexpr):
    """Value, slope and bend of scaled pre-activations."""
    bend = u
    if ACTIVATION == GAUSSIAN:
        value = tl.exp(-u * u)
        slope = -2.0 * u * value
    elif ACTIVATION == RELU:
        value = tl.where(u <= 0.0, 0.0, u)  # a NaN stays one
        slope = tl.where(u <= 0.0, 0.0, 1.0)
    elif ACTIVATION == GABOR:
        sine, cosine = sine_cosine(u)
        envelope = tl.exp(-(shape * u) * (shape * u))
        value = cosine * envelope
        slope = -sine * envelope - 2.0 * shape * shape * u * value
        bend = -2.0 * shape * u * u * value
    elif ACTIVATION == FINER:
        value, cosine = sine_cosine((tl.abs(u) + 1.0) * u)
        slope = cosine * (2.0 * tl.abs(u) + 1.0)
    else:
        value, slope = sine_cosine(u)
    return value, slope, bend


@triton.jit
def sine_cosine(x):
    """sin and cos, to 1e-7 for |x| up to some ten thousands.

    x less the nearest multiple of pi, in three parts, and the polynomials of fused/vectors.h.
    """
    shifted = x * 0.31830988618 + 12582912.0  # 1.5 * 2^23: no bits are left for a fraction
    n = shifted - 12582912.0
    sign = shifted.to(tl.int32, bitcast=True) << 31  # of (-1)^n
    r = x - n * 3.140625
    r = r - n * 9.676218032836914e-4
    r = r - n * 3.1786509424591713e-8
    q = r * r
    sine = ((q * 2.60578067e-6 - 1.98096029e-4) * q + 8.33306625e-3) * q - 1.66666596e-1
    sine = (sine * q) * r + r
    cosine = ((q * -2.60771057e-7 + 2.47618863e-5) * q - 1.38884035e-3) * q + 4.16666407e-2
    cosine = (cosine * q - 4.99999995e-1) * q + 1.0
    sine = (sine.to(tl.int32, bitcast=True) ^ sign).to(tl.float32, bitcast=True)
    cosine = (cosine.to(tl.int32, bitcast=True) ^ sign).to(tl.float32, bitcast=True)
    return sine, cosine


@triton.jit
def split(x):
    """A number as the sum of its first 10 bits and the rest, which 10 bits hold nearly."""
    first = (x.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)
    return first, x - first


@triton.jit
def product(a, b, acc):
    """acc + a b as float32 gives it but for some 2^-21: three products of parts.

    Ootomo and Yokota 2022 (arXiv 2203.03341). A NaN stays one; an infinite number becomes one.
    """
    a_first, a_rest = split(a)
    b_first, b_rest = split(b)
    acc = tl.dot(a_rest, b_first, acc=acc, input_precision="tf32")
    acc = tl.dot(a_first, b_rest, acc=acc, input_precision="tf32")
    return tl.dot(a_first, b_first, acc=acc, input_precision="tf32")


@triton.jit
def rounded(x):
    """To the nearest number of 10 bits: tensor cores would cut, which has a bias."""
    bits = x.to(tl.int32, bitcast=True)
    return ((bits + 4096) & -8192).to(tl.float32, bitcast=True)


@triton.jit
def gradient_product(a, b, acc, ACTIVATION: tl.constexpr):
    """acc + a b for gradients: with sines the first 10 bits will do, with others they do not.

    results/rounding.tsv: Gaussians would lose 0.08 dB, as their features are much alike.
    """
    if ACTIVATION == SINE or ACTIVATION == SIREN or ACTIVATION == FINER:
        result = tl.dot(rounded(a), rounded(b), acc=acc, input_precision="tf32")
    else:
        result = product(a, b, acc)
    return result


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


@triton.jit
def load_tile(
    encoded,
    targets,
    order,
    tile,
    n_pixels,
    inputs,
    channels,
    DRAWS: tl.constexpr,
    WHOLE: tl.constexpr,
    TILE: tl.constexpr,
    EP: tl.constexpr,
    CP: tl.constexpr,
):
    """Inputs `(TILE, EP)`, targets `(TILE, CP)` and which pixels there are, `(TILE, 1)`."""
    e = tl.arange(0, EP)[None, :]
    c = tl.arange(0, CP)[None, :]
    pixel = tile * TILE + tl.arange(0, TILE)
    is_pixel = (pixel < n_pixels)[:, None]
    if DRAWS:
        pixel = tl.load(order + pixel, mask=pixel < n_pixels, other=0)
    pixel = pixel[:, None]
    if WHOLE:
        x = tl.load(encoded + pixel * inputs + e, mask=e < inputs, other=0.0)
        t = tl.load(targets + pixel * channels + c, mask=c < channels, other=0.0)
    else:
        x = tl.load(encoded + pixel * inputs + e, mask=is_pixel & (e < inputs), other=0.0)
        t = tl.load(targets + pixel * channels + c, mask=is_pixel & (c < channels), other=0.0)
    return x, t, is_pixel


@triton.jit
def update(row, first, second, grads, factor, rule, TRAINED: tl.constexpr, PART: tl.constexpr):
    """One step of an optimiser of Adam's family; fused/rules.py says what a rule holds."""
    l2 = tl.load(rule)
    compact = tl.load(rule + 1)
    rest1 = tl.load(rule + 2)
    beta2 = tl.load(rule + 3)
    rest2 = tl.load(rule + 4)
    by_first = tl.load(rule + 5)
    by_grad = tl.load(rule + 6)
    eps = tl.load(rule + 7)
    divides = tl.load(rule + 8)
    for part in range(TRAINED // PART):
        at = part * PART + tl.arange(0, PART)
        p = tl.load(row + at)
        m = tl.load(first + at)
        g = factor * tl.load(grads + at) + l2 * p
        m = m + rest1 * (g - m)
        v = beta2 * tl.load(second + at) + rest2 * g * g
        root = tl.where(divides != 0.0, tl.sqrt(v) + eps, 1.0)
        root = tl.where(root == 0.0, 1.0, root)  # beyond the true sides
        tl.store(row + at, compact * p - (by_first * m + by_grad * g) / root)
        tl.store(first + at, m)
        tl.store(second + at, v)


@triton.jit
def copy(source, goal, LENGTH: tl.constexpr, PART: tl.constexpr):
    """Copy a row."""
    for part in range(LENGTH // PART):
        at = part * PART + tl.arange(0, PART)
        tl.store(goal + at, tl.load(source + at))
