"""The hidden layers in Triton: parameters in rows of numbers, features, gradients.

Sides are padded to powers of two: EP inputs, HP features, CP channels. What lies beyond the true
sides is zero in every row and stays so. layout.py says where in a row a tensor lies.
"""

import triton
import triton.language as tl

from miner.kernels.triton.math import (
    GABOR,
    GAUSSIAN,
    activate,
    gradient_product,
    product,
    scale_and_shape,
)


@triton.jit
def load_folded(
    row,
    omega,
    ACTIVATION: tl.constexpr,
    NUMBERS: tl.constexpr,
    DEPTH: tl.constexpr,
    EP: tl.constexpr,
    HP: tl.constexpr,
    AT_BIASES: tl.constexpr,
    AT_NUMBERS: tl.constexpr,
):
    """Scaled weights `(EP or HP, HP)` and biases `(HP,)` of all layers, their scales and shapes."""
    h = tl.arange(0, HP)
    weights = ()
    biases = ()
    scales = ()
    shapes = ()
    for layer in tl.static_range(DEPTH):
        first = omega
        second = omega
        if NUMBERS > 0:
            first = tl.load(row + AT_NUMBERS + layer * NUMBERS)
        if NUMBERS > 1:
            second = tl.load(row + AT_NUMBERS + layer * NUMBERS + 1)
        scale, shape = scale_and_shape(first, second, omega, ACTIVATION)
        if layer == 0:
            weight = tl.load(row + tl.arange(0, EP)[:, None] * HP + h[None, :])
        else:
            at_weight = EP * HP + (layer - 1) * HP * HP
            weight = tl.load(row + at_weight + h[:, None] * HP + h[None, :])
        weights = weights + (scale * weight,)
        biases = biases + (scale * tl.load(row + AT_BIASES + layer * HP + h),)
        scales = scales + (scale,)
        shapes = shapes + (shape,)
    return weights, biases, scales, shapes


@triton.jit
def forward(
    inputs,
    weights,
    biases,
    shapes,
    is_feature,
    ACTIVATION: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Inputs and values of all layers `(TILE, EP or HP)`, with slopes and bends."""
    values = (inputs,)
    slopes = ()
    bends = ()
    for layer in tl.static_range(DEPTH):
        start = tl.broadcast_to(biases[layer][None, :], inputs.shape[0], weights[layer].shape[1])
        u = product(values[layer], weights[layer], start)
        value, slope, bend = activate(u, shapes[layer], ACTIVATION)
        if ACTIVATION == GAUSSIAN or ACTIVATION == GABOR:  # those of zero are one
            value = tl.where(is_feature, value, 0.0)
        values = values + (value,)
        slopes = slopes + (slope,)
        bends = bends + (bend,)
    return values, slopes, bends


@triton.jit
def descend(
    delta,
    sums,
    values,
    slopes,
    bends,
    weights,
    ACTIVATION: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Add a tile's gradients to the sums of each layer: folded weight, folded bias, shape.

    `delta` `(TILE, HP)` is the gradient with respect to the last features. Sums over a tile's
    pixels wait for the end: between a program's threads each of them is dear.
    """
    added = ()
    for layer in tl.static_range(DEPTH - 1, -1, -1):
        shape = sums[3 * layer + 2]
        if ACTIVATION == GABOR:
            shape += delta * bends[layer]
        delta = delta * slopes[layer]
        weight = gradient_product(tl.trans(values[layer]), delta, sums[3 * layer], ACTIVATION)
        added = (weight, sums[3 * layer + 1] + delta, shape) + added
        if layer > 0:
            below = tl.zeros_like(delta)
            delta = gradient_product(delta, tl.trans(weights[layer]), below, ACTIVATION)
    return added


@triton.jit
def store_unfolded(
    grads,
    row,
    sums,
    scales,
    shapes,
    ACTIVATION: tl.constexpr,
    NUMBERS: tl.constexpr,
    DEPTH: tl.constexpr,
    EP: tl.constexpr,
    HP: tl.constexpr,
    AT_BIASES: tl.constexpr,
    AT_NUMBERS: tl.constexpr,
):
    """Put the gradients of the layers' trained numbers, from those of `descend`, into a row."""
    h = tl.arange(0, HP)
    for layer in tl.static_range(DEPTH):
        if layer == 0:
            at_weight = tl.arange(0, EP)[:, None] * HP + h[None, :]
        else:
            at_weight = EP * HP + (layer - 1) * HP * HP + h[:, None] * HP + h[None, :]
        at_bias = AT_BIASES + layer * HP + h
        weight = sums[3 * layer]
        bias = tl.sum(sums[3 * layer + 1], axis=0)
        tl.store(grads + at_weight, weight * scales[layer])
        tl.store(grads + at_bias, bias * scales[layer])
        if NUMBERS > 0:
            by_scale = tl.sum(tl.sum(weight * tl.load(row + at_weight), axis=1), axis=0)
            by_scale += tl.sum(bias * tl.load(row + at_bias), axis=0)
            at_number = AT_NUMBERS + layer * NUMBERS
            first = tl.load(row + at_number)
            if ACTIVATION == GABOR:
                by_shape = tl.sum(tl.sum(sums[3 * layer + 2], axis=1), axis=0) / first
                tl.store(grads + at_number, by_scale - by_shape * shapes[layer])
                tl.store(grads + at_number + 1, by_shape)
            else:
                tl.store(grads + at_number, -by_scale * scales[layer] / first)
