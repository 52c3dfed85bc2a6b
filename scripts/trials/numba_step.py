"""The training step of miner/fitting/steps.py in Numba, as a rival of the fused kernel.

Compiled for one kind of network: two sine layers, a readout of one channel solved at every step,
log(mse) and Adam. One block at a time: its activations stay in a core's cache for many steps.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba_parts import (
    ONE,
    STRIP,
    ZERO,
    Array,
    E,
    H,
    affine,
    exact,
    outer,
    ridge_solve,
    sine,
    sum_of,
    summing,
)
from problem import BETAS, EPS, LOSS, LR, N_BLOCKS, pack, problem

MAIN_PROCESS = (E + 1) * H + 1  # parameters of the first layer: weights, biases, a
N_HIDDEN = MAIN_PROCESS + (H + 1) * H + 1
N_STORED = N_HIDDEN + H + 1
FLOOR, BETA1, BETA2 = LOSS.floor, *BETAS


@summing
def folded(layer: Array, n_in: int) -> tuple[Array, Array]:
    """Weights and biases divided by a."""
    scaled = layer[:-1] / layer[-1]
    return scaled[: n_in * H].reshape(n_in, H), scaled[n_in * H :]


@summing
def forward(params: Array, encoded: Array, values: Array, slopes: Array) -> None:
    """Values of both layers and the sines' slopes, `(2, strips, H, STRIP)`."""
    weight1, bias1 = folded(params[:MAIN_PROCESS], E)
    weight2, bias2 = folded(params[MAIN_PROCESS:N_HIDDEN], H)
    for t in range(len(encoded)):
        affine(weight1, bias1, encoded[t], values[0, t])
        sine(values[0, t], slopes[0, t])
        affine(weight2, bias2, values[0, t], values[1, t])
        sine(values[1, t], slopes[1, t])


@summing
def solve(features: Array, targets: Array, centred: Array, readout: Array) -> None:
    """Least squares from centred sums over all pixels, into `readout` (weights, then bias)."""
    n, mean, gram, moment = len(features) * STRIP, np.zeros(H + 1), np.zeros((H, H)), np.zeros(H)
    for t in range(len(features)):
        mean[H] += sum_of(targets[t]) / n
        for i in range(H):
            mean[i] += sum_of(features[t, i]) / n
    mean_t = np.float32(mean[H])
    for t in range(len(features)):
        for i in range(H):
            mean_f, total = np.float32(mean[i]), ZERO
            for p in range(STRIP):
                x = features[t, i, p] - mean_f
                centred[i, p] = x
                total += x * (targets[t, p] - mean_t)
            moment[i] += total
        outer(centred, centred, True, gram)
    weight = ridge_solve(gram, moment)
    bias = mean[H]
    for i in range(H):
        readout[i] = weight[i]
        bias -= mean[i] * weight[i]
    readout[H] = bias if np.isfinite(bias) else mean[H]


@summing
def residuals(features: Array, targets: Array, readout: Array, out: Array) -> np.float32:
    """Outputs less targets over a strip, and the sum of their squares."""
    for p in range(STRIP):
        out[p] = readout[H] - targets[p]
    for i in range(0, H, 4):
        a, b, c, d = readout[i], readout[i + 1], readout[i + 2], readout[i + 3]
        for p in range(STRIP):
            out[p] += a * features[i, p] + b * features[i + 1, p]
            out[p] += c * features[i + 2, p] + d * features[i + 3, p]
    squares = ZERO
    for p in range(STRIP):
        squares += out[p] * out[p]
    return squares


@summing
def layer_gradients(x: Array, deltas: Array, grads: Array) -> None:
    """Add a strip's gradients of folded weights and biases."""
    n_weights = len(x) * H
    outer(x, deltas, False, grads[:n_weights].reshape(len(x), H))
    for o in range(H):
        grads[n_weights + o] += sum_of(deltas[o])


@summing
def backward(
    params: Array, grads: Array, encoded: Array, targets: Array, values: Array, slopes: Array
) -> np.float32:
    """Gradients of half the sum of squares by the folded layers; mean squared error.

    Gradients of pre-activations take the place of the slopes.
    """
    readout, squares = params[N_HIDDEN:], ZERO
    transposed, no_bias = (
        folded(params[MAIN_PROCESS:N_HIDDEN], H)[0].T.copy(),
        np.zeros(H, np.float32),
    )
    residual, delta = np.empty(STRIP, np.float32), np.empty((H, STRIP), np.float32)
    grads[:] = ZERO
    for t in range(len(targets)):
        squares += residuals(values[1, t], targets[t], readout, residual)
        for o in range(H):
            for p in range(STRIP):
                slopes[1, t, o, p] *= readout[o] * residual[p]
        affine(transposed, no_bias, slopes[1, t], delta)
        for o in range(H):
            for p in range(STRIP):
                slopes[0, t, o, p] *= delta[o, p]
        layer_gradients(encoded[t], slopes[0, t], grads[:MAIN_PROCESS])
        layer_gradients(values[0, t], slopes[1, t], grads[MAIN_PROCESS:])
    return squares / np.float32(len(targets) * STRIP)


@summing
def unfold(params: Array, grads: Array, n_in: int, factor: np.float32) -> None:
    """From the gradient of a layer divided by a to those of weights, biases and a."""
    n, by_scale = (n_in + 1) * H, ZERO
    scale = factor / params[n]
    for i in range(n):
        by_scale += grads[i] * params[i]
        grads[i] *= scale
    grads[n] = -by_scale * scale / params[n]


@exact
def adam(params: Array, first: Array, second: Array, grads: Array, step: int) -> None:
    """torch.optim.Adam's step, counted from 1."""
    root = np.sqrt(1 - BETA2**step)
    rate, eps = np.float32(LR / (1 - BETA1**step) * root), np.float32(EPS * root)
    b1, b2 = np.float32(BETA1), np.float32(BETA2)
    for i in range(N_HIDDEN):
        g = grads[i]
        first[i] += (ONE - b1) * (g - first[i])
        second[i] = b2 * second[i] + (ONE - b2) * g * g
        params[i] -= rate * first[i] / (np.sqrt(second[i]) + eps)


@exact
def train(
    state: tuple[Array, ...],
    encoded: Array,
    targets: Array,
    blocks: Array,
    start: int,
    n_steps: int,
) -> None:
    """Take steps with some blocks, one block after another."""
    trained, first, second, best, mse, best_mse = state
    values = np.empty((2, len(encoded), H, STRIP), np.float32)
    slopes, centred = np.empty_like(values), np.empty((H, STRIP), np.float32)
    params, grads = np.zeros(N_STORED, np.float32), np.zeros(N_HIDDEN, np.float32)
    for b in blocks:
        params[:N_HIDDEN] = trained[b]
        for step in range(start, start + n_steps):
            forward(params, encoded, values, slopes)
            solve(values[1], targets[b], centred, params[N_HIDDEN:])
            mse[b] = backward(params, grads, encoded, targets[b], values, slopes)
            if mse[b] < best_mse[b]:
                best_mse[b] = mse[b]
                best[b] = params
            factor = np.float32(2 / (mse[b] + FLOOR) / (len(encoded) * STRIP))
            unfold(params[:MAIN_PROCESS], grads[:MAIN_PROCESS], E, factor)
            unfold(params[MAIN_PROCESS:], grads[MAIN_PROCESS:], H, factor)
            adam(params, first[b], second[b], grads, step + 1)
        trained[b] = params[:N_HIDDEN]


class NumbaSteps:
    """Blocks in training; `best` is the state with each block's smallest error so far."""

    def __init__(self) -> None:
        p = problem()
        self.trained = pack(p.start).numpy()
        zeros = np.zeros_like(self.trained)
        self.best = np.zeros((N_BLOCKS, N_STORED), np.float32)
        self.mse = np.full(N_BLOCKS, np.inf, np.float32)
        self._state = (self.trained, zeros, zeros.copy(), self.best, self.mse, self.mse.copy())
        self._encoded = np.ascontiguousarray(
            p.encoded.numpy().reshape(E, -1, STRIP).transpose(1, 0, 2)
        )
        self._targets = p.targets.numpy().reshape(N_BLOCKS, -1, STRIP)
        self._shares = np.arange(N_BLOCKS).reshape(-1, 4)  # more than threads: none waits for long
        self._pool = ThreadPoolExecutor(torch.get_num_threads())
        self._step = 0

    def advance(self, n_steps: int) -> None:
        """Take steps with all blocks. The first call compiles."""

        def work(blocks: Array) -> None:
            train(self._state, self._encoded, self._targets, blocks, self._step, n_steps)

        list(self._pool.map(work, self._shares))
        self._step += n_steps


def build() -> Callable[[int], None]:
    """A function that takes n more steps with all blocks, on as many threads as torch has."""
    return NumbaSteps().advance
