"""The Triton twin of `EagerTrainer`: a program for each block, and nothing waits for the device."""

from threading import Lock

import torch
from torch import Tensor
from triton.runtime.errors import OutOfResources

from miner.fitting.readout import LearnedReadout, Readout
from miner.fitting.steps import BlockProblem, StepSettings
from miner.kernels.ops import NetworkNumbers, UnsupportedError
from miner.kernels.rows import RowTrainer
from miner.kernels.triton.layout import Layout, drawn_pixels, pixel_order
from miner.kernels.triton.programs import render_blocks, train_blocks
from miner.models.network import BlockNetwork, Parameters

_LAUNCHING = Lock()  # a program is compiled by its first launch: by one thread at a time


class TritonTrainer(RowTrainer):
    """Blocks in training, each by a program of its own."""

    layout: Layout

    def __init__(self, problem: BlockProblem) -> None:
        """Start from the parameters of a problem."""
        super().__init__(problem, Layout(problem.network))
        targets = problem.targets
        self._tile = self.layout.tile(self.n_pixels)
        order = pixel_order(self.n_pixels, self._tile, targets.device)
        self._encoded = problem.encoded[:, order].T.contiguous()
        self._targets = targets[:, :, order].transpose(1, 2).contiguous()
        self._drawn = drawn_pixels(order, self.settings)
        self._means = targets.double().mean(-1).to(targets.dtype)
        self._grads = torch.zeros_like(self.trained)

    def _run(self, n_steps: int, moves: bool) -> None:
        order, counts = (self._drawn if moves else None) or (self.training, self.training)
        draws, numbers = order is not self.training, self.numbers
        program = self.layout.program(
            numbers,
            self._tile,
            log_loss=numbers.log_loss,
            draws=draws,
            whole=not draws and self.n_pixels % self._tile == 0,
        )
        with _LAUNCHING, torch.cuda.device_of(self.trained):
            train_blocks[(len(self.trained),)](
                self._encoded, self._targets, order, counts, self.coefficients, self._means,
                self.training, self.trained, self.first, self.second, self._grads, self.best_rows,
                self.mse, self.best_mse,
                first_step=self.step, n_steps=n_steps, moves=int(moves),
                n_all=self.n_pixels, n_drawn=order.shape[-1] if draws else 0,
                n_inputs=numbers.inputs, n_features=numbers.width, n_channels=numbers.channels,
                omega=numbers.omega, ridge=numbers.ridge, floor=numbers.floor,
                S=program, **self.layout.options,
            )  # fmt: skip


trainer_of, layout_of = TritonTrainer, Layout
N_ROWS = 7  # of a block: start, parameters, two moments, gradients, the best state, the result


def block_outputs(network: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
    """Values `(B, C, P)` at encoded coordinates `(E, P)`, as `BlockNetwork.outputs` gives them."""
    numbers, layout = NetworkNumbers.of(network, LearnedReadout()), Layout(network)
    rows, points = layout.rows(parameters), encoded.T.contiguous()
    outputs = rows.new_empty(len(rows), numbers.channels, len(points))
    with _LAUNCHING, torch.cuda.device_of(rows):
        render_blocks[(len(rows),)](
            points, rows, outputs, n_pixels=len(points),
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
    """Compile; an `UnsupportedError` names a resource that the device lacks."""
    mlp, shapes = network.mlp, network.shapes()
    start = {name: torch.zeros(1, *shape, device=device) for name, shape in shapes.items()}
    encoded = torch.zeros(mlp.encoding.n_outputs(mlp.n_axes), 64, device=device)
    targets = torch.zeros(1, network.n_channels, 64, device=device)
    try:
        trainer(BlockProblem(network, readout, settings, encoded, targets, start)).advance(0)
    except OutOfResources as error:
        raise UnsupportedError(f"model.width={mlp.width}: {error}") from error
