"""Networks of every kind on points and targets of any number, for tests of the compiled steps."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
from problems import READOUTS, Problem, noise
from torch import Tensor

from miner.fitting.backend import EagerBackend
from miner.fitting.criteria import ExponentialSchedule, Loss, MSELoss
from miner.fitting.optimizer import OptimizerFactory
from miner.fitting.steps import CompactingTrainer, DenseTrainer, EagerTrainer, StepSettings
from miner.kernels.cpu.steps import CompiledTrainer
from miner.models.activations import Activation, Finer, Gabor, Gaussian, ReLU, Sine, Siren
from miner.models.encodings import CosineEncoding, Encoding, NoEncoding, PositionalEncoding
from miner.models.network import BlockMLP, BlockNetwork
from miner.models.parameters import Parameters, repeat

ACTIVATIONS = (Gaussian(), Sine(), Siren(), ReLU(), Gabor(), Finer())
ENCODINGS = (NoEncoding(), PositionalEncoding(2), CosineEncoding(3))
OPTIMIZERS = {  # RAdam's first steps are as long as the gradient
    name: partial(getattr(torch.optim, name), lr=lr, eps=1e-3, weight_decay=decay)
    for name, lr, decay in (
        ("Adam", 3e-3, 0.1),
        ("AdamW", 3e-3, 2.0),
        ("RAdam", 2e-4, 0.1),
        ("NAdam", 3e-3, 0.1),
    )
}
PLAIN_ADAM = partial(torch.optim.Adam, lr=5e-3)


class Kind(NamedTuple):
    """A network and its readout."""

    readout: str
    activation: Activation
    encoding: Encoding
    n_axes: int
    width: int
    depth: int
    channels: int

    def __str__(self) -> str:
        names = [type(part).__name__ for part in (self.activation, self.encoding)]
        sizes = f"{self.n_axes}d-{self.width}x{self.depth}-{self.channels}"
        return "-".join([self.readout, *names, sizes])


def _kinds() -> list[Kind]:
    sizes = zip(
        (3 * ENCODINGS)[:9] * 2,
        (2, 3) * 9,
        (1, 20, 7, 16, 23, 5, 10, 12, 3, 18, 8, 15, 2, 21, 9, 4, 13, 6),
        (1, 2, 3, 2, 1, 3) * 3,
        (1, 2, 3, 4, 5) * 4,
        strict=False,
    )
    pairs = product(READOUTS, ACTIVATIONS)
    return [Kind(*pair, *size) for pair, size in zip(pairs, sizes, strict=True)]


KINDS = _kinds()  # every activation with every readout; every size and encoding somewhere


def problem_of(
    kind: Kind,
    n_pixels: int,
    n_blocks: int = 3,
    n_steps: int = 8,
    loss: Loss | None = None,
    optimizer: OptimizerFactory = PLAIN_ADAM,
    seed: int = 0,
) -> Problem:
    """A problem in float64 whose numbers float32 holds exactly."""
    solver, signed = READOUTS[kind.readout]
    mlp = BlockMLP(kind.encoding, kind.activation, kind.width, kind.depth, kind.n_axes)
    model = BlockNetwork(mlp, solver.head(signed), kind.channels)
    generator = torch.Generator().manual_seed(seed)
    drawn = mlp.draw(generator) | solver.draw(
        model.head.shapes(kind.width, kind.channels), generator
    )
    start = {
        name: (tensor * (0.8 + 0.4 * noise(*tensor.shape, seed=seed + n))).double()
        for n, (name, tensor) in enumerate(repeat(drawn, n_blocks).items())
    }
    points = 2 * noise(kind.n_axes, n_pixels, seed=seed) - 1
    waves = (4 * noise(n_blocks, kind.channels, kind.n_axes, seed=seed + 1)) @ points
    targets = 0.4 * waves.sin() + (0.0 if signed else 0.5)
    steps = StepSettings(
        n_steps, optimizer, ExponentialSchedule(0.9), loss or MSELoss(), None, key=(seed,)
    )
    encoded = kind.encoding(points).double()
    return Problem(model, solver, encoded, targets.double(), start, steps)


def in_single_precision(given: Problem) -> Problem:
    """The same problem for plain PyTorch in float32."""
    return replace(given.compiled(), backend=EagerBackend())


def begin(given: Problem) -> DenseTrainer:
    """Blocks ready to be trained by the problem's kernel."""
    steps = given.backend.steps(
        given.model, given.readout, given.steps, given.encoded, given.targets, given.start
    )
    assert isinstance(steps, CompactingTrainer)
    return steps.inner


def three_ways(given: Problem) -> tuple[EagerTrainer, EagerTrainer, CompiledTrainer]:
    """Plain steps in float64 (the truth) and in float32 (what rounding costs), compiled steps."""
    truth, single, fused = map(begin, (given, in_single_precision(given), given.compiled()))
    assert isinstance(truth, EagerTrainer) and isinstance(single, EagerTrainer)
    assert isinstance(fused, CompiledTrainer)
    return truth, single, fused


def trained(steps: EagerTrainer) -> Parameters:
    """Trained parameters, by name."""
    return {name: tensor.detach() for name, tensor in steps._trained.items()}


def gradients(steps: EagerTrainer) -> Parameters:
    """What the last step went by, by name."""
    return {name: tensor.grad for name, tensor in steps._trained.items()}


def named(rows: Tensor, like: Mapping[str, Tensor]) -> Parameters:
    """Numbers of the compiled steps, a block's in one row, by name."""
    parts = rows.split([tensor[0].numel() for tensor in like.values()], dim=1)
    return {
        name: part.reshape(tensor.shape)
        for (name, tensor), part in zip(like.items(), parts, strict=True)
    }


def assert_as_good(found: float, usual: float, floor: float) -> None:
    """An error of the compiled steps is of the size of that of plain PyTorch in float32."""
    assert found <= 30 * usual + floor, f"{found} against {usual}"


def distance(found: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> float:
    """Largest difference of any number."""
    return max(float((found[name] - tensor).abs().max()) for name, tensor in truth.items())


def size(truth: Mapping[str, Tensor]) -> float:
    """Largest of all numbers."""
    return max(float(tensor.abs().max()) for tensor in truth.values())
