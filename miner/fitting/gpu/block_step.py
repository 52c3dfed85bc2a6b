"""Training steps of block networks in Triton: one program is one block, for many steps.

A block's numbers stay in the chip's caches and the Gram matrix in registers; pixels stream through
in tiles, twice a step: once for the readout, once for the gradients. The definition is
fitting/steps.py; fused/block_step.c does the same on a CPU. A block is one program's work in a
fixed order, so its result does not depend on what is fitted beside it.
"""

import triton
import triton.language as tl

from miner.fitting.gpu.network import descend, forward, load_folded, store_unfolded
from miner.fitting.gpu.products import product, rough_product
from miner.fitting.gpu.readout import SCALED_SINE, SIGMOID, respond, ridge_solution

_NUMBERS_OF_A_RULE = tl.constexpr(9)


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


@triton.jit
def update(row, first, second, grads, factor, rule, TRAINED: tl.constexpr, PART: tl.constexpr):
    """One step of an optimiser of Adam's family; fused/rules.py says what a rule holds."""
    l2 = tl.load(rule)
    keep = tl.load(rule + 1)
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
        tl.store(row + at, keep * p - (by_first * m + by_grad * g) / root)
        tl.store(first + at, m)
        tl.store(second + at, v)


@triton.jit
def copy(source, goal, LENGTH: tl.constexpr, PART: tl.constexpr):
    """Copy a row."""
    for part in range(LENGTH // PART):
        at = part * PART + tl.arange(0, PART)
        tl.store(goal + at, tl.load(source + at))


@triton.jit(
    do_not_specialize=[
        *("n_steps", "n_all", "n_drawn", "inputs", "width", "channels"),
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
    n_steps,
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
    """Steps of each block that is in training.

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
    for step in range(n_steps):
        if DRAWS:
            n_pixels = tl.load(counts + step)
        weights, biases, scales, shapes = load_folded(
            row, omega, ACTIVATION, NUMBERS, DEPTH, EP, HP, AT_BIASES, AT_NUMBERS
        )
        if SOLVED:
            readout, bias = solve(
                *(encoded, targets, order, mean, weights, biases, shapes, is_feature, n_pixels),
                *(
                    inputs,
                    width,
                    channels,
                    ridge,
                    ACTIVATION,
                    DEPTH,
                    DRAWS,
                    WHOLE,
                    TILE,
                    EP,
                    HP,
                    CP,
                ),
            )
            tl.store(row + at_weight, readout)
            tl.store(row + at_bias, bias)
        else:
            readout = tl.load(row + at_weight)
            bias = tl.load(row + at_bias)
            if HEAD == SCALED_SINE:
                frequency = tl.load(row + at_frequency)
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
            values, slopes, bends = forward(
                x, weights, biases, shapes, is_feature, ACTIVATION, DEPTH
            )
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
                readout_sum = rough_product(tl.trans(values[DEPTH]), r, readout_sum)
                bias_sum += r
            delta = rough_product(r, tl.trans(readout), tl.zeros((TILE, HP), tl.float32))
            sums = descend(delta, sums, values, slopes, bends, weights, ACTIVATION, DEPTH)
        store_unfolded(
            *(grads, row, sums, scales, shapes, ACTIVATION, NUMBERS, DEPTH, EP, HP),
            *(AT_BIASES, AT_NUMBERS),
        )
        if not SOLVED:
            tl.store(grads + at_weight, readout_sum)
            tl.store(grads + at_bias, tl.sum(bias_sum, axis=0))
            if HEAD == SCALED_SINE:
                tl.store(grads + at_frequency, tl.sum(tl.sum(frequency_sum, axis=1), axis=0))
        mse = tl.sum(tl.sum(squares, axis=1), axis=0) / (n_pixels * channels)
        factor = 2.0 / (n_pixels * channels)
        if LOG_LOSS:
            factor = factor / (mse + floor)
        tl.debug_barrier()  # rows are written and read by different threads
        if not DRAWS:
            if mse < best_mse:  # false for NaN: a diverged state is never kept
                best_mse = mse
                copy(row, best + block * LENGTH, LENGTH, PART)
                tl.debug_barrier()
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
    weights, biases, _, shapes = load_folded(
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
        values, _, _ = forward(x, weights, biases, shapes, is_feature, ACTIVATION, DEPTH)
        z = product(values[DEPTH], readout, tl.broadcast_to(bias, TILE, CP))
        y, _, _ = respond(z, amplitude, frequency, HEAD)
        at = (block * channels + c) * n_pixels + pixel
        tl.store(outputs + at, y, mask=is_pixel & (c < channels))
