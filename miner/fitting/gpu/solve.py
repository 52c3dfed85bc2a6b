"""The readout of least squares in Triton, from a pass over a block's pixels."""

import triton
import triton.language as tl

from miner.fitting.gpu.network import forward
from miner.fitting.gpu.products import product
from miner.fitting.gpu.readout import ridge_solution
from miner.fitting.gpu.tiles import load_tile


@triton.jit
def solve(
    encoded,
    targets,
    order,
    mean,
    weights,
    biases,
    shapes,
    is_feature,
    n_pixels,
    inputs,
    width,
    channels,
    ridge,
    ACTIVATION: tl.constexpr,
    DEPTH: tl.constexpr,
    DRAWS: tl.constexpr,
    WHOLE: tl.constexpr,
    TILE: tl.constexpr,
    EP: tl.constexpr,
    HP: tl.constexpr,
    CP: tl.constexpr,
):
    """Readout weights `(HP, CP)` and biases `(CP,)` of least squares.

    Sums are taken about the mean of the first tile, whose pixels lie all over the patch: about
    zero, nearly constant features would lose their digits.
    """
    x, t, is_pixel = load_tile(
        encoded, targets, order, 0, n_pixels, inputs, channels, DRAWS, WHOLE, TILE, EP, CP
    )
    values, _, _ = forward(x, weights, biases, shapes, is_feature, ACTIVATION, DEPTH)
    n_first = tl.where(n_pixels < TILE, n_pixels, TILE)
    shift = tl.sum(tl.where(is_pixel, values[DEPTH], 0.0), axis=0) / n_first
    gram = tl.zeros((HP, HP), tl.float32)
    moment = tl.zeros((HP, CP), tl.float32)
    f_sums = tl.zeros((TILE, HP), tl.float32)
    t_sums = tl.zeros((TILE, CP), tl.float32)
    for tile in range(tl.cdiv(n_pixels, TILE)):
        x, t, is_pixel = load_tile(
            encoded, targets, order, tile, n_pixels, inputs, channels, DRAWS, WHOLE, TILE, EP, CP
        )
        values, _, _ = forward(x, weights, biases, shapes, is_feature, ACTIVATION, DEPTH)
        f = values[DEPTH] - shift[None, :]
        t = t - mean[None, :]
        if not WHOLE:
            f = tl.where(is_pixel, f, 0.0)
            t = tl.where(is_pixel, t, 0.0)
        gram = product(tl.trans(f), f, gram)
        moment = product(tl.trans(f), t, moment)
        f_sums += f
        t_sums += t
    f_mean = tl.sum(f_sums, axis=0) / n_pixels
    t_sum = tl.sum(t_sums, axis=0)
    gram = gram - n_pixels * f_mean[:, None] * f_mean[None, :]
    moment = moment - f_mean[:, None] * t_sum[None, :]
    weight = ridge_solution(gram, moment, width, ridge, HP)
    t_mean = mean + t_sum / n_pixels
    bias = t_mean - tl.sum((shift + f_mean)[:, None] * weight, axis=0)
    bias = tl.where(tl.abs(bias) < float("inf"), bias, t_mean)
    return weight, bias
