"""The Triton twin of `EagerTrainer`: a program for each block, no compaction, nothing waits."""

from threading import Lock

import torch
from torch import Tensor, nn
from triton.runtime.errors import OutOfResources

from miner.fitting.criteria import LogMSELoss
from miner.fitting.readout import LearnedReadout, Readout
from miner.fitting.steps import StepSettings
from miner.kernels.ops import Network, UnsupportedError, check_formulas, row
from miner.kernels.triton.launch import Launch
from miner.kernels.triton.layout import PART, Layout
from miner.kernels.triton.pixels import Draws, Pixels, tile_of
from miner.kernels.triton.programs import render_blocks, train_blocks
from miner.models.heads import AMPLITUDE
from miner.models.network import BlockNetwork
from miner.models.parameters import Parameters, moved, repeat


def check_supported(
    model: BlockNetwork, readout: Readout, settings: StepSettings, device: torch.device
) -> None:
    """Refuse what the programs do not do, and networks whose program the device has no room for.

    The program is compiled for that, unless Triton has it from before.

    Raises:
        UnsupportedError: the message names the setting, or what there is too little of.
    """
    Network.of(model, readout)
    Layout.of(model)
    check_formulas(settings)
    draw = torch.Generator().manual_seed(0)
    trained = readout.draw(model.head.shapes(model.mlp.width, model.n_channels), draw)
    start = moved(repeat(model.mlp.draw(draw) | trained, 1), device)
    encoded = torch.zeros(model.mlp.encoding.n_outputs(model.mlp.n_axes), 64, device=device)
    targets = torch.zeros(1, model.n_channels, 64, device=device)
    try:
        TritonTrainer(model, readout, settings, encoded, targets, start).advance(0)
    except OutOfResources as error:
        raise UnsupportedError(f"model.width={model.mlp.width}: {error}") from error


_LAUNCHING = Lock()  # a program is compiled when it is first launched: by one thread at a time


class TritonTrainer:
    """Blocks in training, with the best state of each. A block that leaves costs nothing more."""

    def __init__(
        self,
        model: BlockNetwork,
        readout: Readout,
        settings: StepSettings,
        encoded: Tensor,
        targets: Tensor,
        start: Parameters,
        launch: Launch | None = None,
    ) -> None:
        """Take encoded coordinates `(E, P)`, targets `(B, C, P)`, trained parameters `(B, ...)`."""
        self.settings, self.step = settings, 0
        self._network, self._layout = Network.of(model, readout), Layout.of(model)
        self._launch = launch or Launch.of_width(self._layout.width)
        self._pixels = Pixels.of(encoded.shape[1], self._launch.tile, encoded.device)
        self._encoded = self._pixels.of_points(encoded)
        self._targets = self._pixels.of_targets(targets)
        self._means = targets.double().mean(-1).to(targets.dtype)
        amplitude = (readout.constants(targets, start) | start).get(AMPLITUDE)
        self._amplitude = None if amplitude is None else amplitude.contiguous()
        self._trained = self._layout.rows(start)
        self._first, self._second = torch.zeros_like(self._trained), torch.zeros_like(self._trained)
        self._grads, self._best = torch.zeros_like(self._trained), self._trained.clone()
        self._training = targets.new_ones(len(targets), dtype=torch.int8)
        self.mse = targets.new_full((len(targets),), torch.inf)
        self.best_mse = self.mse.clone()
        self._rules = self._all_rules().to(targets.device)
        self._draws = self._all_draws()

    @property
    def best(self) -> Parameters:
        """The best state of every block, `(B, ...)`."""
        best = self._layout.parameters(self._best)
        return best if self._amplitude is None else best | {AMPLITUDE: self._amplitude}

    @property
    def is_idle(self) -> bool:
        """False: to know would be to wait for the device."""
        return False

    def advance(self, n_steps: int) -> None:
        """Take steps. With all pixels, each first scores the state that it moves away from."""
        self._run(self.step, n_steps, self._draws)
        self.step += n_steps

    def evaluate(self) -> None:
        """Score the present state, unless the one before the last step will do."""
        if self._draws is not None or self.step == self.settings.n_steps:
            self._run(self.step, 1, None, moves=False)

    def deactivate(self, blocks: Tensor) -> None:
        """Leave blocks out of the computation."""
        self._training = (~blocks).to(torch.int8)

    def _all_rules(self) -> Tensor:
        """A rule for every step."""
        optimizer = self.settings.optimizer([nn.Parameter(torch.zeros(1))])
        lr = float(optimizer.param_groups[0]["lr"])
        steps = range(self.settings.n_steps)
        rules = [row(optimizer, lr * self.settings.factor(step), step + 1) for step in steps]
        return torch.tensor(rules, dtype=torch.float32)

    def _all_draws(self) -> Draws | None:
        """The pixels that each step sees; None where it sees all."""
        n_drawn = self.settings.batch_pixels
        if n_drawn is None or not self.settings.draws_pixels(len(self._encoded)):
            return None
        return Draws.of(self._pixels, n_drawn, self.settings)

    def _run(self, first_step: int, n_steps: int, draws: Draws | None, moves: bool = True) -> None:
        self.mse, self.best_mse = self.mse.clone(), self.best_mse.clone()  # callers hold the old
        nothing = self._training
        loss, network = self.settings.loss, self._network
        with _LAUNCHING, torch.cuda.device_of(self._trained):
            train_blocks[(len(self._trained),)](
                self._encoded,
                self._targets,
                draws.places if draws else nothing,
                draws.counts if draws else nothing,
                self._rules,
                self._means,
                nothing if self._amplitude is None else self._amplitude,
                self._training,
                self._trained,
                self._first,
                self._second,
                self._grads,
                self._best,
                self.mse,
                self.best_mse,
                first_step=first_step,
                n_steps=n_steps,
                moves=int(moves),
                n_all=len(self._encoded),
                n_drawn=draws.places.shape[1] if draws else 0,
                inputs=network.inputs,
                width=network.width,
                channels=network.channels,
                omega=network.omega,
                ridge=network.ridge,
                floor=loss.floor if isinstance(loss, LogMSELoss) else 0.0,
                **self._layout.constants(network),
                PART=PART,
                SOLVED=network.solved,
                LOG_LOSS=isinstance(loss, LogMSELoss),
                DRAWS=draws is not None,
                WHOLE=draws is None and len(self._encoded) % self._pixels.n_tile == 0,
                TILE=self._pixels.n_tile,
                **self._launch.options,
            )


def block_outputs(
    model: BlockNetwork, parameters: Parameters, encoded: Tensor, launch: Launch | None = None
) -> Tensor:
    """Values `(B, C, P)` at encoded coordinates `(E, P)`, as `BlockNetwork.outputs` gives them."""
    network, layout = Network.of(model, LearnedReadout()), Layout.of(model)
    launch = launch or Launch.of_width(layout.width)
    rows = layout.rows(parameters)
    points = encoded.T.contiguous()
    outputs = rows.new_empty(len(rows), model.n_channels, len(points))
    with _LAUNCHING, torch.cuda.device_of(rows):
        render_blocks[(len(rows),)](
            points,
            rows,
            parameters[AMPLITUDE].contiguous() if AMPLITUDE in parameters else rows,
            outputs,
            n_pixels=len(points),
            inputs=network.inputs,
            width=network.width,
            channels=network.channels,
            omega=network.omega,
            **layout.constants(network),
            TILE=tile_of(len(points), launch.tile),
            **launch.options,
        )
    return outputs
