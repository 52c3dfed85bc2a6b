"""The compiled twin of `EagerTrainer`: same steps, one block at a time."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miner.fitting.criteria import LogMSELoss
from miner.fitting.readout import LearnedReadout, Readout
from miner.fitting.steps import StepSettings
from miner.kernels.cpu.library import Work, library
from miner.kernels.ops import Network, UnsupportedError, check_formulas, row
from miner.models.heads import AMPLITUDE, BIAS
from miner.models.network import BlockNetwork
from miner.models.parameters import Parameters

_TILE = 64  # TILE of vectors.h


def check_supported(settings: StepSettings) -> None:
    """Refuse what the compiled steps do not do.

    Raises:
        UnsupportedError: the message names the setting.
    """
    if settings.batch_pixels is not None:
        raise UnsupportedError(f"fitting.batch_pixels={settings.batch_pixels} draws pixels")
    check_formulas(settings)


class CompiledTrainer:
    """Blocks in training, with the best state of each; parameters of a block lie in one row."""

    def __init__(
        self,
        model: BlockNetwork,
        readout: Readout,
        settings: StepSettings,
        encoded: Tensor,
        targets: Tensor,
        start: Parameters,
    ) -> None:
        """Take encoded coordinates `(E, P)`, targets `(B, C, P)`, trained parameters `(B, ...)`."""
        _check_plain(encoded, targets, *start.values())
        self._network, self.settings = Network.of(model, readout), settings
        self.step = 0
        self._n_pixels = targets.shape[-1]
        self._shapes = {n: s for n, s in model.shapes().items() if n != AMPLITUDE}
        names = model.mlp.shapes() if self._network.solved else self._shapes
        self._encoded, self._targets = _tiled(encoded), _tiled(targets)
        self._amplitude = (readout.constants(targets, start) | start).get(AMPLITUDE)
        self._trained = torch.cat([start[name].reshape(len(targets), -1) for name in names], dim=1)
        self._first, self._second = torch.zeros_like(self._trained), torch.zeros_like(self._trained)
        self.mse = self.best_mse = targets.new_full((len(targets),), torch.inf)
        n_stored = sum(torch.Size(shape).numel() for shape in self._shapes.values())
        self._best = targets.new_zeros(len(targets), n_stored)
        self._best[:, : self._trained.shape[1]] = self._trained
        self._optimizer = settings.optimizer([nn.Parameter(torch.zeros(1))])

    @property
    def best(self) -> Parameters:
        """The best state of every block, `(B, ...)`."""
        sizes = [torch.Size(shape).numel() for shape in self._shapes.values()]
        parts = self._best.split(sizes, dim=1)
        best = {
            name: part.reshape(len(part), *shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }
        return best if self._amplitude is None else best | {AMPLITUDE: self._amplitude}

    def advance(self, n_steps: int) -> None:
        """Take steps; each first scores the state that it moves away from."""
        rows = [self._rule(self.step + k) for k in range(n_steps)]
        self._run(torch.tensor(rows, dtype=torch.float32), scores_last=False)
        self.step += n_steps

    def evaluate(self) -> None:
        """Score the present state, unless the one before the last step will do."""
        if self.step == self.settings.n_steps:
            self._run(torch.empty(0), scores_last=True)

    def compact(self, index: Tensor) -> None:
        """Leave all blocks but `index` out of the computation."""
        self._targets, self._trained = self._targets[index], self._trained[index]
        self._first, self._second = self._first[index], self._second[index]
        self.mse, self.best_mse = self.mse[index], self.best_mse[index]
        self._best = self._best[index]
        if self._amplitude is not None:
            self._amplitude = self._amplitude[index]

    def _rule(self, step: int) -> tuple[float, ...]:
        lr = float(self._optimizer.param_groups[0]["lr"]) * self.settings.factor(step)
        return row(self._optimizer, lr, step + 1)

    def _run(self, rules: Tensor, scores_last: bool) -> None:
        self.mse, self.best_mse = self.mse.clone(), self.best_mse.clone()  # callers hold the old
        amplitude = self._targets[:0] if self._amplitude is None else self._amplitude
        arrays = {
            "encoded": self._encoded,
            "targets": self._targets,
            "rules": rules,
            "amplitude": amplitude.contiguous(),
            "trained": self._trained,
            "first": self._first,
            "second": self._second,
            "best": self._best,
            "mse": self.mse,
            "best_mse": self.best_mse,
        }
        loss = self.settings.loss
        work = Work(
            **vars(self._network),
            n_blocks=len(self._trained),
            n_pixels=self._n_pixels,
            n_steps=len(rules),
            scores_last=scores_last,
            log_loss=isinstance(loss, LogMSELoss),
            floor=loss.floor if isinstance(loss, LogMSELoss) else 0.0,
            **{name: tensor.data_ptr() for name, tensor in arrays.items()},
        )
        library().run(work)


def block_outputs(model: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
    """Values `(B, C, P)` at encoded coordinates `(E, P)`, as `BlockNetwork.outputs` gives them."""
    _check_plain(encoded, *parameters.values())
    readout = LearnedReadout()  # which takes what is there
    n_blocks, n_pixels = len(parameters[BIAS]), encoded.shape[1]
    names = [name for name in model.shapes() if name != AMPLITUDE]
    rows = torch.cat([parameters[name].reshape(n_blocks, -1) for name in names], dim=1)
    tiled = _tiled(encoded)
    outputs = rows.new_empty(n_blocks, len(tiled), model.n_channels, _TILE)
    amplitude = parameters.get(AMPLITUDE, rows[:0]).contiguous()
    library().run(
        Work(
            **vars(Network.of(model, readout)),
            n_blocks=n_blocks,
            n_pixels=n_pixels,
            encoded=tiled.data_ptr(),
            outputs=outputs.data_ptr(),
            trained=rows.data_ptr(),
            amplitude=amplitude.data_ptr(),
        )
    )
    return outputs.transpose(1, 2).flatten(2)[..., :n_pixels]


def _check_plain(*tensors: Tensor) -> None:
    """The compiled code sees addresses, not types."""
    if any(tensor.dtype != torch.float32 or tensor.device.type != "cpu" for tensor in tensors):
        raise TypeError("the compiled steps take float32 tensors on the CPU")


def _tiled(rows: Tensor) -> Tensor:
    """`(..., R, P)` as `(..., tiles, R, _TILE)`, zero beyond the pixels."""
    n_tiles = -(-rows.shape[-1] // _TILE)
    padded = F.pad(rows, (0, n_tiles * _TILE - rows.shape[-1]))
    return padded.reshape(*rows.shape[:-1], n_tiles, _TILE).transpose(-3, -2).contiguous()
