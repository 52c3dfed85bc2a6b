"""What blocks say, in Triton: one program is one block."""

import triton
import triton.language as tl

from miner.fitting.gpu.network import forward, load_folded
from miner.fitting.gpu.products import product
from miner.fitting.gpu.readout import SCALED_SINE, respond


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
