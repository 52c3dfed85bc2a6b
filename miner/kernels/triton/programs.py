"""The Triton programs that train and render blocks. `S` is the `Program` of trainer.py."""

from collections import namedtuple

import triton
import triton.language as tl

from miner.kernels.ops import Coefficients
from miner.kernels.triton import math
from miner.kernels.triton.layers import backward, forward, load_layers, store_gradients

Data = namedtuple("Data", "encoded targets order n_pixels n_inputs")  # of a block
Readout = namedtuple("Readout", "weights biases amplitude frequency")  # of each channel
_N_COEFFICIENTS = tl.constexpr(len(Coefficients._fields))


@triton.jit
def load_tile(data, tile, S):
    """Inputs `(tile, inputs)`, the pixels' places among the targets, which pixels there are."""
    e = tl.arange(0, S.inputs)[None, :]
    pixel = tl.arange(0, S.tile) + tile * S.tile
    is_pixel = pixel < data.n_pixels
    if S.draws:
        pixel = tl.load(data.order + pixel, mask=is_pixel, other=0)
    is_input = e < data.n_inputs
    if not S.whole:
        is_input = is_pixel[:, None] & is_input
    x = tl.load(data.encoded + pixel[:, None] * data.n_inputs + e, mask=is_input, other=0.0)
    return x, pixel * S.n_channels, is_pixel


@triton.jit
def load_readout(row, S):
    """Weights `(width,)` and biases of each channel, amplitude and frequency of the head."""
    weights, biases = (), ()
    amplitude, frequency = 1.0, 1.0
    at = row + S.readout_at + tl.arange(0, S.width) * S.channels
    for c in tl.static_range(S.n_channels):
        weights = weights + (tl.load(at + c),)
        biases = biases + (tl.load(row + S.readout_at + S.width * S.channels + c),)
    if S.head == math.SCALED_SINE:
        amplitude = tl.load(row + S.amplitude_at)
        frequency = tl.load(row + S.readout_at + (S.width + 1) * S.channels)
    return Readout(weights, biases, amplitude, frequency)


@triton.jit
def outputs(features, readout, c: tl.constexpr, S):
    """A channel's values `(tile,)` and derivatives: few channels would fill no product."""
    z = tl.sum(features * readout.weights[c][None, :], axis=1) + readout.biases[c]
    return math.respond(z, readout.amplitude, readout.frequency, S)


@triton.jit
def gradients(data, layers, readout, is_feature, S):
    """Gradients of half the sum of squares: layers as `backward` sums them, readout; the sum."""
    sums, dweights, residuals = (), (), ()
    by_feature = tl.zeros((S.tile // 16, 8, S.width), tl.float32)
    for layer in tl.static_range(S.depth):
        sums = sums + (tl.zeros_like(layers.weights[layer]), by_feature, by_feature)
    squares = tl.zeros((S.tile,), tl.float32)
    dfrequencies = squares
    for _c in tl.static_range(S.n_channels):
        dweights = dweights + (by_feature,)
        residuals = residuals + (squares,)
    for tile in range(tl.cdiv(data.n_pixels, S.tile)):
        x, place, is_pixel = load_tile(data, tile, S)
        values, dvalues, dshapes = forward(x, layers, is_feature, S)
        delta = tl.zeros((S.tile, S.width), tl.float32)
        added, left = (), ()
        for c in tl.static_range(S.n_channels):
            y, dvalue, dfrequency = outputs(values[S.depth], readout, c, S)
            r = y - tl.load(data.targets + place + c, mask=is_pixel, other=0.0)
            if not S.whole:
                r = tl.where(is_pixel, r, 0.0)
            squares += r * r
            if S.head == math.SCALED_SINE:
                dfrequencies += r * dfrequency
            r = r * dvalue
            if not S.solved:
                added = added + (dweights[c] + math.folded(values[S.depth] * r[:, None]),)
                left = left + (residuals[c] + r,)
            delta += r[:, None] * readout.weights[c][None, :]
        if not S.solved:
            dweights, residuals = added, left
        sums = backward(delta, sums, values, dvalues, dshapes, layers, S)
    return sums, dweights, residuals, tl.sum(dfrequencies, axis=0), tl.sum(squares, axis=0)


@triton.jit
def solve(data, mean, layers, is_feature, n_features, ridge, S):
    """Readout weights `(width, channels)` and biases `(channels,)` of least squares.

    Sums are about the first tile's mean: about zero, nearly constant features would lose digits.
    The column after the channels has a mean of -1: its targets are ones, for the features' sums.
    """
    x, place, is_pixel = load_tile(data, 0, S)
    values, _, _ = forward(x, layers, is_feature, S)
    n_first = tl.where(data.n_pixels < S.tile, data.n_pixels, S.tile)
    shift = tl.sum(tl.where(is_pixel[:, None], values[S.depth], 0.0), axis=0) / n_first
    gram = tl.zeros((S.width, S.width), tl.float32)
    mixed = gram
    moment = tl.zeros((S.channels, S.width), tl.float32)
    t_sums = tl.zeros((S.tile, S.channels), tl.float32)
    c = tl.arange(0, S.channels)[None, :]
    for tile in range(tl.cdiv(data.n_pixels, S.tile)):
        x, place, is_pixel = load_tile(data, tile, S)
        values, _, _ = forward(x, layers, is_feature, S)
        f = values[S.depth] - shift[None, :]
        is_target = is_pixel[:, None] & (c < S.n_channels)
        t = tl.load(data.targets + place[:, None] + c, mask=is_target, other=0.0) - mean[None, :]
        if not S.whole:
            f = tl.where(is_pixel[:, None], f, 0.0)
            t = tl.where(is_pixel[:, None], t, 0.0)
        first, rest = math.split(f)
        gram = tl.dot(tl.trans(first), first, acc=gram, input_precision="tf32")
        mixed = tl.dot(tl.trans(first), rest, acc=mixed, input_precision="tf32")
        moment = math.product(tl.trans(t), f, moment)
        t_sums += t
    gram = gram + mixed + tl.trans(mixed)
    t_sum = tl.sum(t_sums, axis=0)
    is_one = (tl.arange(0, S.channels) == S.n_channels)[:, None]
    f_mean = tl.sum(tl.where(is_one, moment, 0.0), axis=0) / data.n_pixels
    gram = gram - data.n_pixels * f_mean[:, None] * f_mean[None, :]
    moment = tl.trans(moment) - f_mean[:, None] * t_sum[None, :]
    weight = math.ridge_solution(gram, moment, n_features, ridge, S.width)
    t_mean = mean + t_sum / data.n_pixels
    bias = t_mean - tl.sum((shift + f_mean)[:, None] * weight, axis=0)
    bias = tl.where(tl.abs(bias) < float("inf"), bias, t_mean)
    return weight, bias


@triton.jit(
    do_not_specialize=[
        *("first_step", "n_steps", "moves", "n_all", "n_drawn", "n_inputs", "n_features"),
        *("scale", "ridge", "floor"),
    ]
)
def train_blocks(
    encoded, targets, order, counts, coefficients, means, training,
    trained, first, second, grads, best, mse_of, best_mse_of,
    first_step, n_steps, moves, n_all, n_drawn, n_inputs, n_features,
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
    targets += block * n_all * S.n_channels
    row = trained + block * S.length
    first += block * S.length
    second += block * S.length
    grads += block * S.length
    mse = tl.load(mse_of + block)
    best_mse = tl.load(best_mse_of + block)
    h = tl.arange(0, S.width)
    c = tl.arange(0, S.channels)
    is_feature = (h < n_features)[None, :]
    at_weight = S.readout_at + h * S.channels
    at_bias = S.readout_at + S.width * S.channels
    mean = tl.load(means + block * S.n_channels + c, mask=c < S.n_channels, other=0.0)
    mean = tl.where(c == S.n_channels, -1.0, mean)
    n_pixels = n_all
    order += first_step * n_drawn
    for step in range(first_step, first_step + n_steps):
        if S.draws:
            n_pixels = tl.load(counts + step)
        layers = load_layers(row, scale, S)
        data = Data(encoded, targets, order, n_pixels, n_inputs)
        if S.solved:
            weight, bias = solve(data, mean, layers, is_feature, n_features, ridge, S)
            tl.store(row + at_weight[:, None] + c[None, :], weight)
            tl.store(row + at_bias + c, bias)
            tl.debug_barrier()  # rows are written and read by different threads
        readout = load_readout(row, S)
        sums, dweights, dbiases, dfrequency, squares = gradients(
            data, layers, readout, is_feature, S
        )
        store_gradients(grads, row, sums, layers, S)
        if not S.solved:
            for k in tl.static_range(S.n_channels):
                tl.store(grads + at_weight + k, tl.sum(tl.sum(dweights[k], axis=0), axis=0))
                tl.store(grads + at_bias + k, tl.sum(dbiases[k], axis=0))
            if S.head == math.SCALED_SINE:
                tl.store(grads + at_bias + S.channels, dfrequency)
        mse = squares / (n_pixels * S.n_channels)
        factor = 2.0 / (n_pixels * S.n_channels)
        if S.log_loss:
            factor = factor / (mse + floor)
        tl.debug_barrier()
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


@triton.jit(do_not_specialize=["n_pixels", "n_inputs", "n_features", "scale"])
def render_blocks(encoded, rows, outputs_of, n_pixels, n_inputs, n_features, scale, S):
    """Values of blocks, `(B, C, P)`, from rows that hold their readout."""
    block = tl.program_id(0).to(tl.int64)
    row = rows + block * S.length
    layers, readout = load_layers(row, scale, S), load_readout(row, S)
    is_feature = (tl.arange(0, S.width) < n_features)[None, :]
    data = Data(encoded, rows, rows, n_pixels, n_inputs)
    for tile in range(tl.cdiv(n_pixels, S.tile)):
        x, _, is_pixel = load_tile(data, tile, S)
        values, _, _ = forward(x, layers, is_feature, S)
        pixel = tl.arange(0, S.tile) + tile * S.tile
        for c in tl.static_range(S.n_channels):
            y, _, _ = outputs(values[S.depth], readout, c, S)
            tl.store(outputs_of + (block * S.n_channels + c) * n_pixels + pixel, y, mask=is_pixel)
