"""Networks of every kind with few points and random targets, for tests of the compiled steps."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import cycle, product
from typing import Any

import torch
from block_problems import ACTIVATIONS, READOUTS, Kind, Problem, problem_of
from torch import Tensor

from miner.fitting.soap import SOAP
from miner.models.encodings import CosineEncoding, NoEncoding, PositionalEncoding
from miner.models.network import Parameters

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # of Triton's programs
ENCODINGS = (NoEncoding(), PositionalEncoding(2), CosineEncoding(3))
OPTIMIZERS = {  # RAdam's first steps are as long as the gradient
    name: partial(getattr(torch.optim, name), lr=lr, eps=1e-3, weight_decay=decay)
    for name, lr, decay in (
        ("Adam", 3e-3, 0.1),
        ("AdamW", 3e-3, 2.0),
        ("RAdam", 2e-4, 0.1),
        ("NAdam", 3e-3, 0.1),
    )
} | {"SOAP": partial(SOAP, lr=3e-3, eps=1e-2, precondition_frequency=2)}
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
    return [Kind(*pair, *size) for pair, size in zip(pairs, cycle(sizes), strict=False)]


KINDS = _kinds()  # every activation with every readout; every size and encoding somewhere


def kind_with(activation: type, readout: str = "sigmoid") -> Kind:
    (kind,) = (k for k in KINDS if k.readout == readout and type(k.activation) is activation)
    return kind


def small(kind: Kind, n_pixels: int = 70, n_blocks: int = 1, **settings: Any) -> Problem:
    """A problem that Triton's interpreter solves quickly: two tiles, the last not full."""
    return problem_of(kind._replace(width=min(kind.width, 6)), n_pixels, n_blocks, **settings)


def gradients(problem: Problem) -> Parameters:
    """Gradients of the first step by PyTorch, by name."""
    start = {name: t.clone().requires_grad_() for name, t in problem.start.items()}
    features = problem.network.model.features(start, problem.encoded)
    known = problem.readout.constants(problem.targets, start) | start
    readout = problem.readout.solve(features, problem.targets, known)
    outputs = problem.network.head.outputs(features, readout)
    residual = outputs - problem.targets
    mse = residual.square().mean(dim=(1, 2))
    found = torch.autograd.grad(problem.steps.loss(residual, mse).sum(), list(start.values()))
    return dict(zip(start, found, strict=True))


def after_a_step(problem: Problem) -> Parameters:
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


def check_gradients(problem: Problem, begin: Callable[[Problem], Any], floor: float) -> None:
    """Adam's first moment after a step from zero is 1 - beta1 of the gradient."""
    trainer = begin(problem.with_steps(optimizer=torch.optim.Adam))
    trainer.advance(1)
    found = {n: 10 * t.cpu() for n, t in trainer.layout.parameters(trainer.first).items()}
    expected = gradients(problem)
    usual = distance(gradients(problem.single()), expected)
    # absolute, too: without a live unit all gradients are zero but for rounding
    assert_as_good(distance(found, expected), usual, floor * size(expected) + 1e-6)


def check_steps(problem: Problem, trainer: Any, n_steps: int, floor: float) -> None:
    """Some steps in one call; the first error is that of the start."""
    truth, plain = problem.trainer(), problem.single().trainer()
    for steps in (truth, plain, trainer):
        steps.advance(n_steps)
    check_errors(truth.best_mse, plain.best_mse, trainer.best_mse, floor)


def check_a_few_steps(problem: Problem, trainer: Any) -> None:
    """Two calls for steps, and a last evaluation; the best state is as good as reported."""
    truth, plain = problem.trainer(), problem.single().trainer()
    for steps in (truth, plain, trainer):
        steps.advance(3)
        steps.evaluate()
        steps.advance(problem.steps.n_steps - 3)
        steps.evaluate()
    check_errors(truth.mse, plain.mse, trainer.mse, floor=3e-4)
    check_errors(truth.best_mse, plain.best_mse, trainer.best_mse, floor=3e-4)
    best = {name: tensor.double().cpu() for name, tensor in trainer.best.items()}
    check_errors(problem.measured(best), plain.best_mse, trainer.best_mse, floor=3e-4)


def check_a_step(problem: Problem, compiled: Any) -> None:
    """A step of the optimiser, and the error of the state that it changes."""
    check_steps(problem, compiled, 1, floor=1e-6)
    expected = after_a_step(problem)
    usual = distance(after_a_step(problem.single()), expected)
    found = compiled.layout.parameters(compiled.trained)
    assert_as_good(distance(found, expected), usual, 1e-5 * size(expected))
