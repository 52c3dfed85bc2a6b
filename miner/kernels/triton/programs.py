"""The Triton programs that train and render blocks."""

import triton
import triton.language as tl

from miner.kernels.triton.math import (
    SCALED_SINE,
    SIGMOID,
    copy,
    gradient_product,
    load_tile,
    product,
    respond,
    ridge_solution,
    update,
)
from miner.kernels.triton.network import descend, forward, load_folded, store_unfolded


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


_NUMBERS_OF_A_RULE = tl.constexpr(9)


@triton.jit(
    do_not_specialize=[
        *("first_step", "n_steps", "moves", "n_all", "n_drawn", "inputs", "width", "channels"),
        *("omega", "ridge", "floor"),
    ]
)
def train_blocks(
    encoded,
    targets,
    order,
    counts,
    rules,
    means,
    amplitudes,
    training,
    trained,
    first,
    second,
    grads,
    best,
    mse_of,
    best_mse_of,
    first_step,
    n_steps,
    moves,
    n_all,
    n_drawn,
    inputs,
    width,
    channels,
    omega,
    ridge,
    floor,
    ACTIVATION: tl.constexpr,
    NUMBERS: tl.constexpr,
    DEPTH: tl.constexpr,
    HEAD: tl.constexpr,
    EP: tl.constexpr,
    HP: tl.constexpr,
    CP: tl.constexpr,
    AT_BIASES: tl.constexpr,
    AT_NUMBERS: tl.constexpr,
    AT_READOUT: tl.constexpr,
    LENGTH: tl.constexpr,
    PART: tl.constexpr,
    SOLVED: tl.constexpr,
    LOG_LOSS: tl.constexpr,
    DRAWS: tl.constexpr,
    WHOLE: tl.constexpr,
    TILE: tl.constexpr,
):
    """Steps of each block that is in training, the first of them number `first_step`.

    Without `moves` they score only.
    A step scores the state that it moves away from, which is kept if it is the best, unless it sees
    drawn pixels only: for every step `order` then has room for `n_drawn`, `counts` says how many.
    `WHOLE` says that tiles are full.
    """
    block = tl.program_id(0).to(tl.int64)
    if tl.load(training + block) == 0:
        return
    TRAINED: tl.constexpr = AT_READOUT if SOLVED else LENGTH
    targets += block * n_all * channels
    row = trained + block * LENGTH
    first += block * LENGTH
    second += block * LENGTH
    grads += block * LENGTH
    mse = tl.load(mse_of + block)
    best_mse = tl.load(best_mse_of + block)
    h = tl.arange(0, HP)
    c = tl.arange(0, CP)
    is_channel = (c < channels)[None, :]
    is_feature = (h < width)[None, :]
    at_weight = AT_READOUT + h[:, None] * CP + c[None, :]
    at_bias = AT_READOUT + HP * CP + c
    at_frequency = AT_READOUT + HP * CP + CP
    mean = tl.load(means + block * channels + c, mask=c < channels, other=0.0)
    amplitude = 1.0
    frequency = 1.0
    if HEAD == SCALED_SINE:
        amplitude = tl.load(amplitudes + block)
    n_pixels = n_all
    order += first_step * n_drawn
    for step in range(first_step, first_step + n_steps):
        if DRAWS:
            n_pixels = tl.load(counts + step)
        weights, biases, scales, shapes = load_folded(
            row, omega, ACTIVATION, NUMBERS, DEPTH, EP, HP, AT_BIASES, AT_NUMBERS
        )
        if SOLVED:
            readout, bias = solve(
                *(encoded, targets, order, mean, weights, biases, shapes, is_feature, n_pixels),
                *(inputs, width, channels, ridge),
                *(ACTIVATION, DEPTH, DRAWS, WHOLE, TILE, EP, HP, CP),
            )
            tl.store(row + at_weight, readout)
            tl.store(row + at_bias, bias)
        else:
            readout = tl.load(row + at_weight)
            bias = tl.load(row + at_bias)
            if HEAD == SCALED_SINE:
                frequency = tl.load(row + at_frequency)
        sums, readout_sum, bias_sum, frequency_sum, squares = gradients(
            *(encoded, targets, order, weights, biases, shapes, readout, bias),
            *(amplitude, frequency, is_feature, is_channel, n_pixels, inputs, channels),
            *(ACTIVATION, DEPTH, HEAD, SOLVED, DRAWS, WHOLE, TILE, EP, HP, CP),
        )
        store_unfolded(
            *(grads, row, sums, scales, shapes, ACTIVATION, NUMBERS, DEPTH, EP, HP),
            *(AT_BIASES, AT_NUMBERS),
        )
        if not SOLVED:
            tl.store(grads + at_weight, readout_sum)
            tl.store(grads + at_bias, bias_sum)
            if HEAD == SCALED_SINE:
                tl.store(grads + at_frequency, frequency_sum)
        mse = squares / (n_pixels * channels)
        factor = 2.0 / (n_pixels * channels)
        if LOG_LOSS:
            factor = factor / (mse + floor)
        tl.debug_barrier()  # rows are written and read by different threads
        if not DRAWS:
            if mse < best_mse:  # false for NaN: a diverged state is never kept
                best_mse = mse
                copy(row, best + block * LENGTH, LENGTH, PART)
                tl.debug_barrier()
        if moves != 0:
            rule = rules + step * _NUMBERS_OF_A_RULE
            update(row, first, second, grads, factor, rule, TRAINED, PART)
            tl.debug_barrier()
        if DRAWS:
            order += n_drawn
    tl.store(mse_of + block, mse)
    tl.store(best_mse_of + block, best_mse)


@triton.jit(do_not_specialize=["n_pixels", "inputs", "width", "channels", "omega"])
def render_blocks(
    encoded,
    rows,
    amplitudes,
    outputs,
    n_pixels,
    inputs,
    width,
    channels,
    omega,
    ACTIVATION: tl.constexpr,
    NUMBERS: tl.constexpr,
    DEPTH: tl.constexpr,
    HEAD: tl.constexpr,
    EP: tl.constexpr,
    HP: tl.constexpr,
    CP: tl.constexpr,
    AT_BIASES: tl.constexpr,
    AT_NUMBERS: tl.constexpr,
    AT_READOUT: tl.constexpr,
    LENGTH: tl.constexpr,
    TILE: tl.constexpr,
):
    """Values of blocks, `(B, C, P)`, from rows that hold their readout: a program for each."""
    block = tl.program_id(0).to(tl.int64)
    row = rows + block * LENGTH
    weights, biases, _scales, shapes = load_folded(
        row, omega, ACTIVATION, NUMBERS, DEPTH, EP, HP, AT_BIASES, AT_NUMBERS
    )
    h = tl.arange(0, HP)
    c = tl.arange(0, CP)
    e = tl.arange(0, EP)[None, :]
    readout = tl.load(row + AT_READOUT + h[:, None] * CP + c[None, :])
    bias = tl.load(row + AT_READOUT + HP * CP + c)[None, :]
    amplitude = 1.0
    frequency = 1.0
    if HEAD == SCALED_SINE:
        amplitude = tl.load(amplitudes + block)
        frequency = tl.load(row + AT_READOUT + HP * CP + CP)
    is_feature = (h < width)[None, :]
    c = c[None, :]
    for tile in range(tl.cdiv(n_pixels, TILE)):
        pixel = (tile * TILE + tl.arange(0, TILE))[:, None]
        is_pixel = pixel < n_pixels
        x = tl.load(encoded + pixel * inputs + e, mask=is_pixel & (e < inputs), other=0.0)
        values, _slopes, _bends = forward(x, weights, biases, shapes, is_feature, ACTIVATION, DEPTH)
        z = product(values[DEPTH], readout, tl.broadcast_to(bias, TILE, CP))
        y, _slope, _by_frequency = respond(z, amplitude, frequency, HEAD)
        at = (block * channels + c) * n_pixels + pixel
        tl.store(outputs + at, y, mask=is_pixel & (c < channels))
