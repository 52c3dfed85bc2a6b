"""The Triton twin of `EagerTrainer`: a program for each block, and nothing waits for the device."""

from threading import Lock

import torch
from torch import Tensor
from triton.runtime.errors import OutOfResources

from miner.fitting.criteria import LogMSELoss
from miner.fitting.readout import LearnedReadout, Readout
from miner.fitting.steps import BlockProblem, StepSettings
from miner.kernels import ops
from miner.kernels.triton.layout import Layout, drawn_pixels, pixel_order
from miner.kernels.triton.programs import render_blocks, train_blocks
from miner.models.heads import AMPLITUDE
from miner.models.network import BlockNetwork, Parameters, moved, repeat

_LAUNCHING = Lock()  # a program is compiled by its first launch: by one thread at a time


class TritonTrainer:
    """Blocks in training: rows of `trained` parameters, `first` and `second` moments."""

    def __init__(self, problem: BlockProblem) -> None:
        """Start from the parameters of a problem."""
        network, readout, self._settings, encoded, targets, start = problem
        self.step, self.layout = 0, Layout(network)
        self._numbers = ops.NetworkNumbers.of(network, readout)
        self._tile = self.layout.tile(encoded.shape[1])
        order = pixel_order(encoded.shape[1], self._tile, encoded.device)
        self._encoded = encoded[:, order].T.contiguous()
        self._targets = targets[:, :, order].transpose(1, 2).contiguous()
        self._drawn = drawn_pixels(order, self._settings)
        self._means = targets.double().mean(-1).to(targets.dtype)
        amplitude = (readout.constants(targets, start) | start).get(AMPLITUDE)
        self._amplitude = None if amplitude is None else amplitude.contiguous()
        self.trained = self.layout.rows(start)
        self.first, self.second = torch.zeros_like(self.trained), torch.zeros_like(self.trained)
        self._grads, self._best = torch.zeros_like(self.trained), self.trained.clone()
        self._training = targets.new_ones(len(targets), dtype=torch.int8)
        self.mse = targets.new_full((len(targets),), torch.inf)
        self.best_mse = self.mse.clone()
        coefficients = ops.coefficients_of(self._settings, range(self._settings.n_steps))
        self._coefficients = coefficients.to(targets.device)

    @property
    def best(self) -> Parameters:
        """The best state of every block, `(B, ...)`."""
        best = self.layout.parameters(self._best)
        return best if self._amplitude is None else best | {AMPLITUDE: self._amplitude}

    def advance(self, n_steps: int) -> None:
        """Take steps. With all pixels, each first evaluates the state that it changes."""
        self._run(n_steps, self._drawn)
        self.step += n_steps

    def evaluate(self) -> None:
        """Evaluate the present state, unless the one before the last step suffices."""
        if self._drawn is not None or self.step == self._settings.n_steps:
            self._run(1, None, moves=False)

    def deactivate(self, blocks: Tensor) -> bool:
        """Leave blocks out; False, as finding out if all are would mean waiting for the device."""
        self._training = (~blocks).to(torch.int8)
        return False

    def _run(self, n_steps: int, drawn: tuple[Tensor, Tensor] | None, moves: bool = True) -> None:
        self.mse, self.best_mse = self.mse.clone(), self.best_mse.clone()  # callers hold the old
        unused = self._training
        order, counts = (unused, unused) if drawn is None else drawn
        loss, numbers = self._settings.loss, self._numbers
        program = self.layout.program(
            numbers,
            self._tile,
            log_loss=isinstance(loss, LogMSELoss),
            draws=drawn is not None,
            whole=drawn is None and len(self._encoded) % self._tile == 0,
        )
        with _LAUNCHING, torch.cuda.device_of(self.trained):
            train_blocks[(len(self.trained),)](
                self._encoded, self._targets, order, counts, self._coefficients, self._means,
                unused if self._amplitude is None else self._amplitude, self._training,
                self.trained, self.first, self.second, self._grads, self._best,
                self.mse, self.best_mse,
                first_step=self.step, n_steps=n_steps, moves=int(moves),
                n_all=len(self._encoded), n_drawn=0 if drawn is None else order.shape[1],
                n_inputs=numbers.inputs, n_features=numbers.width, n_channels=numbers.channels,
                omega=numbers.omega, ridge=numbers.ridge,
                floor=loss.floor if isinstance(loss, LogMSELoss) else 0.0,
                S=program, **self.layout.options,
            )  # fmt: skip


trainer_of = TritonTrainer


def state_numbers(network: BlockNetwork) -> int:
    """Numbers of a block: a row for each of the CPU's copies and for the gradients."""
    return 7 * Layout(network).length


def block_outputs(network: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
    """Values `(B, C, P)` at encoded coordinates `(E, P)`, as `BlockNetwork.outputs` gives them."""
    numbers, layout = ops.NetworkNumbers.of(network, LearnedReadout()), Layout(network)
    rows, points = layout.rows(parameters), encoded.T.contiguous()
    outputs = rows.new_empty(len(rows), numbers.channels, len(points))
    with _LAUNCHING, torch.cuda.device_of(rows):
        render_blocks[(len(rows),)](
            points, rows, parameters[AMPLITUDE].contiguous() if AMPLITUDE in parameters else rows,
            outputs, n_pixels=len(points),
            n_inputs=numbers.inputs, n_features=numbers.width, n_channels=numbers.channels,
            omega=numbers.omega, S=layout.program(numbers, layout.tile(len(points))),
            **layout.options,
        )  # fmt: skip
    return outputs


def check_supported(
    network: BlockNetwork,
    readout: Readout,
    settings: StepSettings,
    device: torch.device,
    trainer: type[TritonTrainer] = TritonTrainer,
) -> None:
    """Compile; an `UnsupportedError` names a setting, or a resource that the device lacks."""
    ops.NetworkNumbers.of(network, readout)
    Layout(network)
    ops.check_formulas(settings)
    mlp, draw = network.mlp, torch.Generator().manual_seed(0)
    trained = readout.draw(network.head.shapes(mlp.width, network.n_channels), draw)
    start = moved(repeat(mlp.draw(draw) | trained, 1), device)
    encoded = torch.zeros(mlp.encoding.n_outputs(mlp.n_axes), 64, device=device)
    targets = torch.zeros(1, network.n_channels, 64, device=device)
    try:
        trainer(BlockProblem(network, readout, settings, encoded, targets, start)).advance(0)
    except OutOfResources as error:
        raise ops.UnsupportedError(f"model.width={mlp.width}: {error}") from error
