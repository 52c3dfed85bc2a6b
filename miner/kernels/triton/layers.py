"""The hidden layers in Triton. Rows are padded with zeros to the sides of the `Program` S."""

from collections import namedtuple

import triton
import triton.language as tl

from miner.kernels.triton import math

Layers = namedtuple("Layers", "weights biases scales shapes")  # weights and biases are scaled


@triton.jit
def weights_at(start, layer: tl.constexpr, S):
    """Where a layer's weights `(inputs or width, width)` are, from where a row starts."""
    h = tl.arange(0, S.width)
    rows = h
    if layer == 0:
        rows = tl.arange(0, S.inputs)
    else:
        start += S.inputs * S.width + (layer - 1) * S.width * S.width
    return start + rows[:, None] * S.width + h[None, :]


@triton.jit
def load_layers(row, scale_of_1, S):
    """The layers of a row, weights and biases times the activation's scale: `ActivationOp`."""
    h = tl.arange(0, S.width)
    weights, biases, scales, shapes = (), (), (), ()
    for layer in tl.static_range(S.depth):
        scale, shape = scale_of_1, scale_of_1
        numbers = row + S.numbers_at + layer * S.n_numbers
        if S.n_numbers == 1:
            scale = scale_of_1 / tl.load(numbers)
        elif S.n_numbers == 2:
            scale = tl.load(numbers)
            shape = tl.load(numbers + 1) / scale
        weights = weights + (scale * tl.load(weights_at(row, layer, S)),)
        biases = biases + (scale * tl.load(row + S.biases_at + layer * S.width + h),)
        scales = scales + (scale,)
        shapes = shapes + (shape,)
    return Layers(weights, biases, scales, shapes)


@triton.jit
def forward(inputs, layers, is_feature, S):
    """Inputs and values of all layers `(tile, inputs or width)`, with the derivatives."""
    values = (inputs,)
    dvalues, dshapes = (), ()
    for layer in tl.static_range(S.depth):
        weight = layers.weights[layer]
        start = tl.broadcast_to(layers.biases[layer][None, :], inputs.shape[0], weight.shape[1])
        u = math.product(values[layer], weight, start)
        value, dvalue, dshape = math.activate(u, layers.shapes[layer], S)
        if not S.zero_at_zero:
            value = tl.where(is_feature, value, 0.0)
        values = values + (value,)
        dvalues = dvalues + (dvalue,)
        dshapes = dshapes + (dshape,)
    return values, dvalues, dshapes


@triton.jit
def backward(delta, sums, values, dvalues, dshapes, layers, S):
    """Add a tile's gradients, from those of its last features, to the sums of each layer."""
    added = ()
    for layer in tl.static_range(S.depth - 1, -1, -1):
        shape = sums[3 * layer + 2]
        if S.n_numbers > 1:
            shape += math.folded(delta * dshapes[layer])
        delta = delta * dvalues[layer]
        weight = math.gradient_product(tl.trans(values[layer]), delta, sums[3 * layer], S)
        added = (weight, sums[3 * layer + 1] + math.folded(delta), shape) + added
        if layer > 0:
            below = tl.zeros_like(delta)
            delta = math.gradient_product(delta, tl.trans(layers.weights[layer]), below, S)
    return added


@triton.jit
def store_gradients(grads, row, sums, layers, S):
    """Store the gradients of the layers' trained numbers, from the sums of `backward`, in a row."""
    h = tl.arange(0, S.width)
    for layer in tl.static_range(S.depth):
        at_weight = weights_at(0, layer, S)
        at_bias = S.biases_at + layer * S.width + h
        weight = sums[3 * layer]
        bias = tl.sum(tl.sum(sums[3 * layer + 1], axis=0), axis=0)
        tl.store(grads + at_weight, weight * layers.scales[layer])
        tl.store(grads + at_bias, bias * layers.scales[layer])
        if S.n_numbers > 0:
            dscale = tl.sum(tl.sum(weight * tl.load(row + at_weight), axis=1), axis=0)
            dscale += tl.sum(bias * tl.load(row + at_bias), axis=0)
            at_number = S.numbers_at + layer * S.n_numbers
            first = tl.load(row + at_number)
            if S.n_numbers > 1:
                dshape = tl.sum(tl.sum(tl.sum(sums[3 * layer + 2], axis=0), axis=1), axis=0) / first
                tl.store(grads + at_number, dscale - dshape * layers.shapes[layer])
                tl.store(grads + at_number + 1, dshape)
            else:
                tl.store(grads + at_number, -dscale * layers.scales[layer] / first)
