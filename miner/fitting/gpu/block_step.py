"""Training steps of block networks in Triton: one program is one block, for many steps.

A block's numbers stay in the chip's caches and the Gram matrix in registers; pixels stream through
in tiles, twice a step: once for the readout, once for the gradients. The definition is
fitting/steps.py; fused/block_step.c does the same on a CPU. A block is one program's work in a
fixed order, so its result does not depend on what is fitted beside it.
"""

import triton
import triton.language as tl

from miner.fitting.gpu.gradients import gradients
from miner.fitting.gpu.network import load_folded, store_unfolded
from miner.fitting.gpu.readout import SCALED_SINE
from miner.fitting.gpu.solve import solve
from miner.fitting.gpu.update import copy, update

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
