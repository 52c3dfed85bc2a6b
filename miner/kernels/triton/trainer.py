"""The Triton twin of `EagerTrainer`: a program for each block, and nothing waits for the device."""

from threading import Lock
from typing import NamedTuple, cast

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from triton.runtime.errors import OutOfResources

from miner.fitting.readout import LearnedReadout
from miner.fitting.steps import BlockProblem, StepSettings
from miner.kernels.activations import ACTIVATIONS
from miner.kernels.ops import NetworkNumbers, RowLayout, RowTrainer, UnsupportedError
from miner.kernels.triton.math import PART
from miner.kernels.triton.programs import render_blocks, train_blocks
from miner.models.heads import AMPLITUDE, WEIGHT
from miner.models.network import BlockMLP, BlockNetwork, Parameters

_LAUNCHING = Lock()  # a program is compiled by its first launch: by one thread at a time
_MIN_SIDE, _MAX_SIDE = 16, 64  # of a product on tensor cores; larger ones do not fit the registers
_MAX_DEPTH, _MAX_CHANNELS = 4, 15  # programs have a part for each layer and channel
# Pixels of a tile and warps, by padded width: of 32, the fastest in results/gpu_launches.tsv.
_LAUNCHES = {16: (64, 4), 32: (32, 2), 64: (32, 8)}


class Program(NamedTuple):
    """What a program is compiled for: classes, padded sides, offsets in a row."""

    activation: tl.constexpr  # name of the class
    zero_at_zero: tl.constexpr  # as in ActivationOp
    tf32_gradients: tl.constexpr
    n_numbers: tl.constexpr  # trained numbers of a layer's activation
    head: tl.constexpr  # number
    depth: tl.constexpr
    inputs: tl.constexpr
    width: tl.constexpr
    channels: tl.constexpr
    n_channels: tl.constexpr  # without padding
    biases_at: tl.constexpr
    numbers_at: tl.constexpr
    readout_at: tl.constexpr
    amplitude_at: tl.constexpr  # the length, if there is none
    length: tl.constexpr
    tile: tl.constexpr  # pixels that are processed at once
    solved: tl.constexpr  # whether the readout has a closed form
    log_loss: tl.constexpr
    draws: tl.constexpr  # whether a step sees some pixels only
    whole: tl.constexpr  # whether all tiles are full


class Layout(RowLayout):
    """A row by `_order`; readout and amplitude, where updates may end, start at a whole `PART`."""

    def __init__(self, network: BlockNetwork) -> None:
        """Lay out the blocks of a level; an `UnsupportedError` if a side is too large."""
        mlp = cast(BlockMLP, network.model)
        sides = {
            "the encoding's outputs": (network.n_inputs, _MAX_SIDE),
            "model.width": (mlp.width, _MAX_SIDE),
            "the image's channels": (network.n_channels, _MAX_CHANNELS),
        }
        for name, (side, most) in sides.items():
            if side > most:
                raise UnsupportedError(f"{name}={side}: more than {most} do not fit a program")
        if mlp.depth > _MAX_DEPTH:
            raise UnsupportedError(f"model.depth={mlp.depth}: more than {_MAX_DEPTH} do not fit")
        super().__init__(network, _order, _padded, PART.value)
        self._sides = [_padded(side) for side, _ in sides.values()]
        self._width = _padded(mlp.width)
        self._max_tile, n_warps = _LAUNCHES[self._width]
        self.options = {"num_warps": n_warps, "num_stages": 1}
        self.readout_at = self.offsets[WEIGHT]

    def tile(self, n_pixels: int) -> int:
        """How many of a block's pixels a program processes at once."""
        return min(self._max_tile, _padded(n_pixels))

    def program(self, network: NetworkNumbers, tile: int, **variant: bool) -> Program:
        """What the programs of these blocks are compiled for; all of a `variant` is false."""
        op, biases_at = ACTIVATIONS[network.activation], self.offsets["hidden.0.bias"]
        values = (
            *(op.of.__name__, op.zero_at_zero, op.tf32_gradients, network.n_numbers),
            *(network.head, network.depth, *self._sides, network.channels),
            *(biases_at, biases_at + network.depth * self._width, self.readout_at),
            *(self.offsets.get(AMPLITUDE, self.length), self.length, tile, network.solved),
            *(variant.get(name, False) for name in ("log_loss", "draws", "whole")),
        )
        return Program(*map(tl.constexpr, values))


def pixel_order(n_pixels: int, tile: int, device: torch.device) -> Tensor:
    """An order `(P,)` whose first tile has pixels from all over the patch."""
    pixels = torch.arange(n_pixels, device=device)
    return (pixels % -(-n_pixels // tile)).argsort(stable=True)


def drawn_pixels(order: Tensor, settings: StepSettings) -> tuple[Tensor, Tensor] | None:
    """Positions in `order` of each step's pixels, `(steps, n)`, and their number; None: all."""
    n_pixels = len(order)
    if not settings.draws_pixels(n_pixels):
        return None
    position = order.cpu().argsort().to(torch.int32)
    drawn = [position[settings.pixels(step, n_pixels)] for step in range(settings.n_steps)]
    counts = torch.tensor([len(pixels) for pixels in drawn], dtype=torch.int32)
    return pad_sequence(drawn, batch_first=True).to(order.device), counts.to(order.device)


def _order(name: str) -> int:
    """Parts of a row: weights, biases, the activation's numbers, readout, amplitude."""
    if name.startswith("readout."):
        return 4 if name == AMPLITUDE else 3
    return {"weight": 0, "bias": 1}.get(name.rpartition(".")[2], 2)


def _padded(side: int) -> int:
    return max(_MIN_SIDE, int(triton.next_power_of_2(side)))


class TritonTrainer(RowTrainer):
    """Blocks in training, each by a program of its own."""

    n_rows = 13  # start, parameters, moments, gradients, the best state, result, SOAP's bases
    layout_of = Layout
    layout: Layout

    def __init__(self, problem: BlockProblem) -> None:
        super().__init__(problem)
        targets = problem.targets
        self._tile = self.layout.tile(self.n_pixels)
        order = pixel_order(self.n_pixels, self._tile, targets.device)
        self._encoded = problem.encoded[:, order].T.contiguous()
        self._targets = targets[:, :, order].transpose(1, 2).contiguous()
        self._drawn = drawn_pixels(order, self.settings)
        self._means = targets.double().mean(-1).to(targets.dtype)
        self._grads = torch.zeros_like(self.trained)
        if self.has_bases:  # else no optimiser is made: that would import torch._dynamo
            parts, grads = (self.layout.parameters(rows) for rows in (self.trained, self._grads))
            self._moved = [(nn.Parameter(parts[name]), grads[name]) for name in problem.start]
            self._optimizer = self.settings.optimizer([part for part, _ in self._moved])
            self._base_lr = float(self._optimizer.param_groups[0]["lr"])

    def _run(self, n_steps: int, moves: bool) -> None:
        draws = moves and self._drawn is not None
        if not (moves and self.has_bases and n_steps):  # no steps: `prepare` compiles
            return self._launch(self.step, n_steps, draws, moves)
        for step in range(self.step, self.step + n_steps):
            self._launch(step, 1, draws, moves=False)
            self._move(step, draws)

    def _move(self, step: int, draws: bool) -> None:
        """A step of SOAP by PyTorch, with the gradients of the last launch."""
        n_pixels = self._drawn[1][step] if draws and self._drawn else self.n_pixels
        factor = 2 / (n_pixels * self.numbers.channels) * torch.ones_like(self.mse)
        if self.numbers.log_loss:
            factor = factor / (self.mse + self.numbers.floor)
        for part, gradient in self._moved:
            part.grad = factor.view(-1, *[1] * (part.ndim - 1)) * gradient
        self._optimizer.param_groups[0]["lr"] = self._base_lr * self.settings.factor(step)
        self._optimizer.step()

    def _launch(self, first_step: int, n_steps: int, draws: bool, moves: bool) -> None:
        order, counts = (self._drawn if draws else None) or (self.training, self.training)
        numbers = self.numbers
        program = self.layout.program(
            numbers,
            self._tile,
            log_loss=numbers.log_loss,
            draws=draws,
            whole=not draws and self.n_pixels % self._tile == 0,
        )
        try:
            with _LAUNCHING, torch.cuda.device_of(self.trained):
                train_blocks[(len(self.trained),)](
                    self._encoded, self._targets, order, counts, self.coefficients, self._means,
                    self.training, self.trained, self.first, self.second, self._grads,
                    self.best_rows, self.mse, self.best_mse,
                    first_step=first_step, n_steps=n_steps, moves=int(moves),
                    n_all=self.n_pixels, n_drawn=order.shape[-1] if draws else 0,
                    n_inputs=numbers.inputs, n_features=numbers.width,
                    scale=numbers.scale, ridge=numbers.ridge, floor=numbers.floor,
                    S=program, **self.layout.options,
                )  # fmt: skip
        except OutOfResources as error:
            raise UnsupportedError(f"model.width={numbers.width}: {error}") from error

    @staticmethod
    def outputs(network: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
        """As `BlockNetwork.outputs`, by the functions of the steps."""
        numbers, layout = NetworkNumbers.of(network, LearnedReadout()), Layout(network)
        rows, points = layout.rows(parameters), encoded.T.contiguous()
        outputs = rows.new_empty(len(rows), numbers.channels, len(points))
        with _LAUNCHING, torch.cuda.device_of(rows):
            render_blocks[(len(rows),)](
                points, rows, outputs, n_pixels=len(points),
                n_inputs=numbers.inputs, n_features=numbers.width,
                scale=numbers.scale, S=layout.program(numbers, layout.tile(len(points))),
                **layout.options,
            )  # fmt: skip
        return outputs
