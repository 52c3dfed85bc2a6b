"""The Triton programs that train and render blocks. `S` is the `Program` of trainer.py."""

from collections import namedtuple

import triton
import triton.language as tl

from miner.kernels.ops import Coefficients
from miner.kernels.triton import math
from miner.kernels.triton.layers import backward, forward, load_layers, store_gradients

Data = namedtuple("Data", "encoded targets order n_pixels n_inputs n_channels")  # of a block
Readout = namedtuple("Readout", "weight bias amplitude frequency")
_N_COEFFICIENTS = tl.constexpr(len(Coefficients._fields))


@triton.jit
def load_tile(data, tile, S):
    """Inputs `(tile, inputs)`, targets `(tile, channels)`, which pixels there are, `(tile, 1)`."""
    e = tl.arange(0, S.inputs)[None, :]
    c = tl.arange(0, S.channels)[None, :]
    pixel = tl.arange(0, S.tile) + tile * S.tile
    is_pixel = (pixel < data.n_pixels)[:, None]
    if S.draws:
        pixel = tl.load(data.order + pixel, mask=pixel < data.n_pixels, other=0)
    pixel = pixel[:, None]
    is_input = e < data.n_inputs
    if not S.whole:
        is_input = is_pixel & is_input
    x = tl.load(data.encoded + pixel * data.n_inputs + e, mask=is_input, other=0.0)
    is_target = c < data.n_channels
    if not S.whole:
        is_target = is_pixel & is_target
    t = tl.load(data.targets + pixel * data.n_channels + c, mask=is_target, other=0.0)
    return x, t, is_pixel


@triton.jit
def gradients(data, layers, readout, is_feature, is_channel, S):
    """Gradients of half the sum of squares: layers as `backward` sums them, readout; the sum."""
    sums = ()
    for layer in tl.static_range(S.depth):
        dbias = tl.zeros((S.tile, S.width), tl.float32)
        sums = sums + (tl.zeros_like(layers.weights[layer]), dbias, dbias)
    dweight = tl.zeros_like(readout.weight)
    residuals = tl.zeros((S.tile, S.channels), tl.float32)
    dfrequencies, squares = residuals, residuals
    for tile in range(tl.cdiv(data.n_pixels, S.tile)):
        x, t, is_pixel = load_tile(data, tile, S)
        values, dvalues, dshapes = forward(x, layers, is_feature, S)
        start = tl.broadcast_to(readout.bias[None, :], S.tile, S.channels)
        z = math.product(values[S.depth], readout.weight, start)
        y, dvalue, dfrequency = math.respond(z, readout.amplitude, readout.frequency, S)
        r = y - t
        if not S.whole or S.head == math.SIGMOID:
            r = tl.where(is_pixel & is_channel, r, 0.0)
        squares += r * r
        if S.head == math.SCALED_SINE:
            dfrequencies += r * dfrequency
        r = r * dvalue
        if not S.solved:
            dweight = math.gradient_product(tl.trans(values[S.depth]), r, dweight, S)
            residuals += r
        delta = tl.zeros((S.tile, S.width), tl.float32)
        delta = math.gradient_product(r, tl.trans(readout.weight), delta, S)
        sums = backward(delta, sums, values, dvalues, dshapes, layers, S)
    dbias = tl.sum(residuals, axis=0)
    dfrequency = tl.sum(tl.sum(dfrequencies, axis=1), axis=0)
    return sums, dweight, dbias, dfrequency, tl.sum(tl.sum(squares, axis=1), axis=0)


@triton.jit
def solve(data, mean, layers, is_feature, n_features, ridge, S):
    """Readout weights `(width, channels)` and biases `(channels,)` of least squares.

    Sums are about the first tile's mean: about zero, nearly constant features would lose digits.
    """
    x, t, is_pixel = load_tile(data, 0, S)
    values, _, _ = forward(x, layers, is_feature, S)
    n_first = tl.where(data.n_pixels < S.tile, data.n_pixels, S.tile)
    shift = tl.sum(tl.where(is_pixel, values[S.depth], 0.0), axis=0) / n_first
    gram = tl.zeros((S.width, S.width), tl.float32)
    moment = tl.zeros((S.width, S.channels), tl.float32)
    f_sums = tl.zeros((S.tile, S.width), tl.float32)
    t_sums = tl.zeros((S.tile, S.channels), tl.float32)
    for tile in range(tl.cdiv(data.n_pixels, S.tile)):
        x, t, is_pixel = load_tile(data, tile, S)
        values, _, _ = forward(x, layers, is_feature, S)
        f = values[S.depth] - shift[None, :]
        t = t - mean[None, :]
        if not S.whole:
            f = tl.where(is_pixel, f, 0.0)
            t = tl.where(is_pixel, t, 0.0)
        gram = math.product(tl.trans(f), f, gram)
        moment = math.product(tl.trans(f), t, moment)
        f_sums += f
        t_sums += t
    f_mean = tl.sum(f_sums, axis=0) / data.n_pixels
    t_sum = tl.sum(t_sums, axis=0)
    gram = gram - data.n_pixels * f_mean[:, None] * f_mean[None, :]
    moment = moment - f_mean[:, None] * t_sum[None, :]
    weight = math.ridge_solution(gram, moment, n_features, ridge, S.width)
    t_mean = mean + t_sum / data.n_pixels
    bias = t_mean - tl.sum((shift + f_mean)[:, None] * weight, axis=0)
    bias = tl.where(tl.abs(bias) < float("inf"), bias, t_mean)
    return weight, bias


@triton.jit(
    do_not_specialize=[
        *("first_step", "n_steps", "moves", "n_all", "n_drawn", "n_inputs", "n_features"),
        *("n_channels", "scale", "ridge", "floor"),
    ]
)
def train_blocks(
    encoded, targets, order, counts, coefficients, means, training,
    trained, first, second, grads, best, mse_of, best_mse_of,
    first_step, n_steps, moves, n_all, n_drawn, n_inputs, n_features, n_channels,
    scale, ridge, floor, S,
):  # fmt: skip
    """Steps of each block that is in training. Without `moves` they only evaluate.

    Each evaluates the state that it changes and keeps it if it is the best. Steps that draw pixels
    keep none: `order` has space for `n_drawn` pixels of every step, `counts` of them are valid.
    """
    block = tl.program_id(0).to(tl.int64)
    if tl.load(training + block) == 0:
        return
    TRAINED: tl.constexpr = S.readout_at if S.solved else S.amplitude_at
    targets += block * n_all * n_channels
    row = trained + block * S.length
    first += block * S.length
    second += block * S.length
    grads += block * S.length
    mse = tl.load(mse_of + block)
    best_mse = tl.load(best_mse_of + block)
    h = tl.arange(0, S.width)
    c = tl.arange(0, S.channels)
    is_channel = (c < n_channels)[None, :]
    is_feature = (h < n_features)[None, :]
    at_weight = S.readout_at + h[:, None] * S.channels + c[None, :]
    at_bias = S.readout_at + S.width * S.channels + c
    at_frequency = S.readout_at + S.width * S.channels + S.channels
    mean = tl.load(means + block * n_channels + c, mask=c < n_channels, other=0.0)
    amplitude, frequency = 1.0, 1.0
    if S.head == math.SCALED_SINE:
        amplitude = tl.load(row + S.amplitude_at)
    n_pixels = n_all
    order += first_step * n_drawn
    for step in range(first_step, first_step + n_steps):
        if S.draws:
            n_pixels = tl.load(counts + step)
        layers = load_layers(row, scale, S)
        data = Data(encoded, targets, order, n_pixels, n_inputs, n_channels)
        if S.solved:
            weight, bias = solve(data, mean, layers, is_feature, n_features, ridge, S)
            tl.store(row + at_weight, weight)
            tl.store(row + at_bias, bias)
        else:
            weight = tl.load(row + at_weight)
            bias = tl.load(row + at_bias)
            if S.head == math.SCALED_SINE:
                frequency = tl.load(row + at_frequency)
        readout = Readout(weight, bias, amplitude, frequency)
        sums, dweight, dbias, dfrequency, squares = gradients(
            data, layers, readout, is_feature, is_channel, S
        )
        store_gradients(grads, row, sums, layers, S)
        if not S.solved:
            tl.store(grads + at_weight, dweight)
            tl.store(grads + at_bias, dbias)
            if S.head == math.SCALED_SINE:
                tl.store(grads + at_frequency, dfrequency)
        mse = squares / (n_pixels * n_channels)
        factor = 2.0 / (n_pixels * n_channels)
        if S.log_loss:
            factor = factor / (mse + floor)
        tl.debug_barrier()  # rows are written and read by different threads
        if not S.draws:
            if mse < best_mse:  # false for NaN: a diverged state is never kept
                best_mse = mse
                kept = best + block * S.length
                for part in range(S.length // math.PART):
                    at = part * math.PART + tl.arange(0, math.PART)
                    tl.store(kept + at, tl.load(row + at))
                tl.debug_barrier()
        if moves != 0:
            math.update(
                row, first, second, grads, factor, coefficients + step * _N_COEFFICIENTS, TRAINED
            )
            tl.debug_barrier()
        if S.draws:
            order += n_drawn
    tl.store(mse_of + block, mse)
    tl.store(best_mse_of + block, best_mse)


@triton.jit(do_not_specialize=["n_pixels", "n_inputs", "n_features", "n_channels", "scale"])
def render_blocks(encoded, rows, outputs, n_pixels, n_inputs, n_features, n_channels, scale, S):
    """Values of blocks, `(B, C, P)`, from rows that hold their readout."""
    block = tl.program_id(0).to(tl.int64)
    row = rows + block * S.length
    layers = load_layers(row, scale, S)
    h = tl.arange(0, S.width)
    c = tl.arange(0, S.channels)
    e = tl.arange(0, S.inputs)[None, :]
    readout = tl.load(row + S.readout_at + h[:, None] * S.channels + c[None, :])
    bias = tl.load(row + S.readout_at + S.width * S.channels + c)[None, :]
    amplitude, frequency = 1.0, 1.0
    if S.head == math.SCALED_SINE:
        amplitude = tl.load(row + S.amplitude_at)
        frequency = tl.load(row + S.readout_at + S.width * S.channels + S.channels)
    is_feature = (h < n_features)[None, :]
    c = c[None, :]
    for tile in range(tl.cdiv(n_pixels, S.tile)):
        pixel = (tl.arange(0, S.tile) + tile * S.tile)[:, None]
        is_pixel = pixel < n_pixels
        x = tl.load(encoded + pixel * n_inputs + e, mask=is_pixel & (e < n_inputs), other=0.0)
        values, _dvalues, _dshapes = forward(x, layers, is_feature, S)
        z = math.product(values[S.depth], readout, tl.broadcast_to(bias, S.tile, S.channels))
        y, _dvalue, _dfrequency = math.respond(z, amplitude, frequency, S)
        at = (block * n_channels + c) * n_pixels + pixel
        tl.store(outputs + at, y, mask=is_pixel & (c < n_channels))
