"""Networks of every kind with few points and random targets, for tests of the compiled steps."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.block_fit import BlockFit, fit_blocks
from miner.fitting.criteria import ExponentialSchedule, Loss, MSELoss, NoPruning, Pruning
from miner.fitting.optimizer import OptimizerFactory
from miner.fitting.readout import ClosedFormReadout, LearnedReadout, Readout
from miner.fitting.steps import BlockProblem, StepSettings
from miner.kernels.backend import CompiledBackend
from miner.models.activations import Activation, Finer, Gabor, Gaussian, ReLU, Sine, Siren
from miner.models.encodings import CosineEncoding, Encoding, NoEncoding, PositionalEncoding
from miner.models.network import BlockMLP, BlockNetwork, Parameters, repeat
from miner.models.network import select as select_parameters

CPU = torch.device("cpu")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # of Triton's programs
ACTIVATIONS = (Gaussian(), Sine(), Siren(), ReLU(), Gabor(), Finer())
ENCODINGS = (NoEncoding(), PositionalEncoding(2), CosineEncoding(3))
READOUTS: dict[str, tuple[Readout, bool]] = {  # and whether its targets are signed
    "closed_form": (ClosedFormReadout(), True),
    "sigmoid": (LearnedReadout(), False),
    "scaled_sine": (LearnedReadout(), True),
}
OPTIMIZERS = {  # RAdam's first steps are as long as the gradient
    name: partial(getattr(torch.optim, name), lr=lr, eps=1e-3, weight_decay=decay)
    for name, lr, decay in (
        ("Adam", 3e-3, 0.1),
        ("AdamW", 3e-3, 2.0),
        ("RAdam", 2e-4, 0.1),
        ("NAdam", 3e-3, 0.1),
    )
}
SETTINGS: dict[str, Any] = {  # of whole fits, at a low rate, as rounding grows with the steps
    "patch_size": 8,
    "pyramid": "laplacian",
    "pyramid.n_levels": 2,
    "model.width": 6,
    "capacity": "uniform",
    "optimizer.lr": 1e-3,
    "pruning": "never",
    "fitting.max_steps": 12,
}
PLAIN_ADAM = partial(torch.optim.Adam, lr=5e-3)
NEVER = NoPruning(10)


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


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def kind_with(activation: type, readout: str = "sigmoid") -> Kind:
    (kind,) = (k for k in KINDS if k.readout == readout and type(k.activation) is activation)
    return kind


def problem_of(
    kind: Kind,
    n_pixels: int,
    n_blocks: int = 3,
    n_steps: int = 8,
    loss: Loss | None = None,
    optimizer: OptimizerFactory = PLAIN_ADAM,
    seed: int = 0,
) -> BlockProblem:
    """A problem in float64 whose numbers float32 holds exactly."""
    readout, signed = READOUTS[kind.readout]
    mlp = BlockMLP(kind.encoding, kind.activation, kind.width, kind.depth, kind.n_axes)
    network = BlockNetwork(mlp, readout.head(signed), kind.channels)
    generator = torch.Generator().manual_seed(seed)
    shapes = network.head.shapes(kind.width, kind.channels)
    drawn = mlp.draw(generator) | readout.draw(shapes, generator)
    start = {
        name: (tensor * (0.8 + 0.4 * noise(*tensor.shape, seed=seed + n))).double()
        for n, (name, tensor) in enumerate(repeat(drawn, n_blocks).items())
    }
    points = 2 * noise(kind.n_axes, n_pixels, seed=seed) - 1
    waves = (4 * noise(n_blocks, kind.channels, kind.n_axes, seed=seed + 1)) @ points
    targets = 0.4 * waves.sin() + (0.0 if signed else 0.5)
    schedule = ExponentialSchedule(0.9)
    steps = StepSettings(n_steps, optimizer, schedule, loss or MSELoss(), None, key=(seed,))
    encoded = kind.encoding(points).double()
    return BlockProblem(network, readout, steps, encoded, targets.double(), start)


def small(kind: Kind, n_pixels: int = 70, n_blocks: int = 1, **settings: Any) -> BlockProblem:
    """A problem that Triton's interpreter solves quickly: two tiles, the last not full."""
    return problem_of(kind._replace(width=min(kind.width, 6)), n_pixels, n_blocks, **settings)


def with_steps(problem: BlockProblem, **changes: Any) -> BlockProblem:
    """The same problem with other step settings."""
    return problem._replace(steps=replace(problem.steps, **changes))


def single(problem: BlockProblem, device: torch.device = CPU) -> BlockProblem:
    """The same problem in float32, on a device."""
    return problem._replace(
        encoded=problem.encoded.to(device, torch.float32),
        targets=problem.targets.to(device, torch.float32),
        start={name: t.to(device, torch.float32) for name, t in problem.start.items()},
    )


def select(problem: BlockProblem, index: Tensor) -> BlockProblem:
    """The same problem for some of the blocks."""
    start = select_parameters(problem.start, index)
    return problem._replace(targets=problem.targets[index], start=start)


def fit(
    problem: BlockProblem,
    pruning: Pruning = NEVER,
    max_mse: float = 1e-4,
    backend: Backend | None = None,
) -> BlockFit:
    """Fit the blocks, by default with the compiled steps."""
    return fit_blocks(backend or CompiledBackend(), problem, pruning, max_mse)


def measured(problem: BlockProblem, parameters: Parameters) -> Tensor:
    """Each block's error by the network's own outputs."""
    outputs = problem.network.outputs(parameters, problem.encoded)
    return (outputs - problem.targets).square().mean(dim=(1, 2))


def gradients(problem: BlockProblem) -> Parameters:
    """Gradients of the first step by PyTorch, by name."""
    start = {name: t.clone().requires_grad_() for name, t in problem.start.items()}
    features = problem.network.mlp.features(start, problem.encoded)
    known = problem.readout.constants(problem.targets, start) | start
    readout = problem.readout.solve(features, problem.targets, known)
    outputs = problem.network.head.outputs(features, readout)
    mse = (outputs - problem.targets).square().mean(dim=(1, 2))
    found = torch.autograd.grad(problem.steps.loss(mse).sum(), list(start.values()))
    return dict(zip(start, found, strict=True))


def after_a_step(problem: BlockProblem) -> Parameters:
    """Trained parameters after the first step by PyTorch, by name."""
    moved = {name: torch.nn.Parameter(t.clone()) for name, t in problem.start.items()}
    optimizer = problem.steps.optimizer(moved.values())
    optimizer.param_groups[0]["lr"] *= problem.steps.factor(0)
    for name, gradient in gradients(problem).items():
        moved[name].grad = gradient
    optimizer.step()
    return {name: parameter.detach() for name, parameter in moved.items()}


def distance(found: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> float:
    """Largest difference of any number."""
    return max(float((found[name] - tensor).abs().max()) for name, tensor in truth.items())


def size(truth: Mapping[str, Tensor]) -> float:
    """Largest of all numbers."""
    return max(float(tensor.abs().max()) for tensor in truth.values())


def assert_as_good(found: float, usual: float, floor: float) -> None:
    """An error of compiled steps is of the size of that of plain PyTorch in float32."""
    assert found <= 30 * usual + floor, f"{found} against {usual}"


def check_errors(truth: Tensor, eager: Tensor, found: Tensor, floor: float) -> None:
    """Roots of mean squares are compared: rounding adds to the residuals."""
    expected, usual, root = (mse.double().cpu().sqrt() for mse in (truth, eager, found))
    error = float((root - expected).abs().max())
    assert_as_good(error, float((usual - expected).abs().max()), floor)


def check_a_few_steps(problem: BlockProblem, trainer: Any) -> None:
    """Two calls for steps, and a last evaluation; the best state is as good as reported."""
    eager = EagerBackend()
    truth, plain = eager.trainer(problem), eager.trainer(single(problem))
    for steps in (truth, plain, trainer):
        steps.advance(3)
        steps.evaluate()
        steps.advance(problem.steps.n_steps - 3)
        steps.evaluate()
    check_errors(truth.mse, plain.mse, trainer.mse, floor=3e-4)
    check_errors(truth.best_mse, plain.best_mse, trainer.best_mse, floor=3e-4)
    best = {name: tensor.double().cpu() for name, tensor in trainer.best.items()}
    check_errors(measured(problem, best), plain.best_mse, trainer.best_mse, floor=3e-4)
