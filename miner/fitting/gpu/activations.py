"""The activations of miner/models/activations.py in Triton: values and slopes.

Functions of u, the affine map of a layer times the activation's scale. Gabor has a trained number
besides the scale, its `shape`; the bend is the slope with respect to it.
"""

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
