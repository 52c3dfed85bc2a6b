"""The work that the trials share: 64 blocks of 32 x 32 pixels, the settings of a usual level."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from miner.fitting.criteria import ConstantSchedule, LogMSELoss
from miner.fitting.initialization import generator
from miner.fitting.readout import ClosedFormReadout
from miner.fitting.steps import EagerTrainer, StepSettings
from miner.models.activations import Sine
from miner.models.encodings import CosineEncoding
from miner.models.heads import LinearHead
from miner.models.network import BlockMLP, BlockNetwork
from miner.models.parameters import Parameters, repeat
from miner.signals.grid import CoordinateFrame, coordinates

N_BLOCKS, SIDE, WIDTH, N_INPUTS = 64, 32, 20, 16
LR, BETAS, EPS = 0.03, (0.9, 0.99), 1e-8
LOSS, READOUT = LogMSELoss(), ClosedFormReadout()


@dataclass(frozen=True)
class Problem:
    """A network and its start, encoded coordinates `(E, P)` and smooth targets `(B, 1, P)`."""

    model: BlockNetwork
    encoded: Tensor
    targets: Tensor
    start: Parameters


def problem() -> Problem:
    """The same blocks at every call."""
    mlp = BlockMLP(CosineEncoding(N_INPUTS // 2), Sine(), WIDTH, depth=2)
    encoded = mlp.encoding(coordinates(SIDE, (SIDE, SIDE), CoordinateFrame.own(2)))
    coarse = torch.randn(N_BLOCKS, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic")
    start = repeat(mlp.draw(generator(0, 0)), N_BLOCKS)
    return Problem(BlockNetwork(mlp, LinearHead(), 1), encoded, 0.1 * smooth.flatten(2), start)


def eager_steps(n_steps: int) -> EagerTrainer:
    """The readable definition, at its start."""
    p = problem()
    adam = partial(torch.optim.Adam, lr=LR, betas=BETAS, eps=EPS)
    settings = StepSettings(n_steps, adam, ConstantSchedule(), LOSS, None, (0,))
    return EagerTrainer(p.model, READOUT, settings, p.encoded, p.targets, p.start)


def pack(parameters: Parameters) -> Tensor:
    """All parameters of a block in a row, `(B, N)`."""
    rows = [tensor.detach().reshape(len(tensor), -1) for tensor in parameters.values()]
    return torch.cat(rows, dim=1)
