"""Gradients of a block's squared error in Triton, from a pass over its pixels."""

import triton
import triton.language as tl

from miner.fitting.gpu.network import descend, forward
from miner.fitting.gpu.products import gradient_product, product
from miner.fitting.gpu.readout import SCALED_SINE, SIGMOID, respond
from miner.fitting.gpu.tiles import load_tile


@triton.jit
def gradients(
    encoded,
    targets,
    order,
    weights,
    biases,
    shapes,
    readout,
    bias,
    amplitude,
    frequency,
    is_feature,
    is_channel,
    n_pixels,
    inputs,
    channels,
    ACTIVATION: tl.constexpr,
    DEPTH: tl.constexpr,
    HEAD: tl.constexpr,
    SOLVED: tl.constexpr,
    DRAWS: tl.constexpr,
    WHOLE: tl.constexpr,
    TILE: tl.constexpr,
    EP: tl.constexpr,
    HP: tl.constexpr,
    CP: tl.constexpr,
):
    """Gradients of half the sum of squares, and that sum.

    With respect to the layers as `descend` sums them, and to the readout's weight, bias and
    frequency where it is not solved for.
    """
    sums = ()
    for layer in tl.static_range(DEPTH):
        by_bias = tl.zeros((TILE, HP), tl.float32)
        sums = sums + (tl.zeros_like(weights[layer]), by_bias, by_bias)
    readout_sum = tl.zeros_like(readout)
    bias_sum = tl.zeros((TILE, CP), tl.float32)
    frequency_sum = bias_sum
    squares = bias_sum
    for tile in range(tl.cdiv(n_pixels, TILE)):
        x, t, is_pixel = load_tile(
            encoded,
            targets,
            order,
            tile,
            n_pixels,
            inputs,
            channels,
            DRAWS,
            WHOLE,
            TILE,
            EP,
            CP,
        )
        values, slopes, bends = forward(x, weights, biases, shapes, is_feature, ACTIVATION, DEPTH)
        z = product(values[DEPTH], readout, tl.broadcast_to(bias[None, :], TILE, CP))
        y, slope, by_frequency = respond(z, amplitude, frequency, HEAD)
        r = y - t
        if not WHOLE or HEAD == SIGMOID:
            r = tl.where(is_pixel & is_channel, r, 0.0)
        squares += r * r
        if HEAD == SCALED_SINE:
            frequency_sum += r * by_frequency
        r = r * slope
        if not SOLVED:
            readout_sum = gradient_product(tl.trans(values[DEPTH]), r, readout_sum, ACTIVATION)
            bias_sum += r
        delta = tl.zeros((TILE, HP), tl.float32)
        delta = gradient_product(r, tl.trans(readout), delta, ACTIVATION)
        sums = descend(delta, sums, values, slopes, bends, weights, ACTIVATION, DEPTH)
    return (
        sums,
        readout_sum,
        tl.sum(bias_sum, axis=0),
        tl.sum(tl.sum(frequency_sum, axis=1), axis=0),
        tl.sum(tl.sum(squares, axis=1), axis=0),
    )
