"""What the trainers in C and in Triton share: networks, optimisers and blocks as numbers."""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn

from miner.fitting.criteria import LogMSELoss, Loss, MSELoss
from miner.fitting.readout import ClosedFormReadout, LearnedReadout, Readout
from miner.fitting.soap import SOAP, n_iterations
from miner.fitting.steps import KNOWN, BlockProblem, BlockTrainer, StepSettings, without_parameters
from miner.kernels.activations import ACTIVATIONS
from miner.models.heads import AMPLITUDE, WEIGHT, Head, LinearHead, ScaledSineHead, SigmoidHead
from miner.models.network import BlockMLP, BlockNetwork, Parameters

HEADS: tuple[type[Head], ...] = (LinearHead, SigmoidHead, ScaledSineHead)
_READOUTS = (LearnedReadout, ClosedFormReadout)
_LOSSES = (MSELoss, LogMSELoss)


class UnsupportedError(Exception):
    """The compiled steps do not support a setting or cannot be compiled; the message says why."""


class NetworkNumbers(NamedTuple):
    """The first fields of `Work` in cpu/layout.h. `scale` is for trained numbers of 1."""

    inputs: int
    width: int
    depth: int
    channels: int
    activation: int
    n_numbers: int  # that the activation trains in a layer
    head: int
    solved: bool
    log_loss: bool
    scale: float
    ridge: float
    floor: float

    @staticmethod
    def of(network: BlockNetwork, readout: Readout, loss: Loss | None = None) -> "NetworkNumbers":
        """Of a level's blocks; an `UnsupportedError` for other classes, even for subclasses."""
        _number(network.model, (BlockMLP,), "model")
        mlp = cast(BlockMLP, network.model)
        ones = dict.fromkeys(mlp.activation.trained_fields, torch.ones(()))
        return NetworkNumbers(
            inputs=network.n_inputs,
            width=mlp.width,
            depth=mlp.depth,
            channels=network.n_channels,
            activation=_number(mlp.activation, [op.of for op in ACTIVATIONS], "activation"),
            n_numbers=len(ones),
            head=_number(network.head, HEADS, "output head"),
            solved=bool(_number(readout, _READOUTS, "readout")),
            log_loss=isinstance(loss, LogMSELoss),
            scale=float(mlp.activation.scale(ones)),
            ridge=getattr(readout, "ridge", 0.0),
            floor=getattr(loss, "floor", 0.0),
        )


def _number(part: object, known: Sequence[type], role: str) -> int:
    if type(part) not in known:
        raise UnsupportedError(f"{role} {type(part).__name__} is not compiled")
    return known.index(type(part))


class Coefficients(NamedTuple):
    """One step of an optimiser of Adam's family, in the order in which `update` reads them.

    The gradient g gets `l2` times the parameter. First moment: m += rest1 (g - m). Second moment:
    v = beta2 v + rest2 g^2. The parameter is multiplied by `decay`; then by_first m +
    by_gradient g is subtracted, which is divided by sqrt(v) + eps if `divides` is 1. SOAP does
    this in bases: `rest_products` is for the sums of products, which `iterations` bring nearer.
    """

    l2: float
    decay: float
    rest1: float
    beta2: float
    rest2: float
    by_first: float
    by_gradient: float
    eps: float
    divides: float = 1.0
    rest_products: float = 0.0
    iterations: float = 0.0


def coefficients_of(settings: StepSettings) -> Tensor:
    """`Coefficients` of all steps, `(steps, 11)`; `UnsupportedError` for other formulas."""
    _number(settings.loss, _LOSSES, "loss")
    optimizer = without_parameters(settings.optimizer)
    optimizer = optimizer or settings.optimizer([nn.Parameter(torch.zeros(1))])
    _number(optimizer, KNOWN, "optimizer")
    for option in ("amsgrad", "maximize"):
        if optimizer.defaults.get(option):
            raise UnsupportedError(f"optimizer.{option}=true is not compiled")
    lr, steps = float(optimizer.defaults["lr"]), range(settings.n_steps)
    of = soap_coefficients if isinstance(optimizer, SOAP) else adam_coefficients
    rows = [of(optimizer, lr * settings.factor(k), k + 1) for k in steps]
    return torch.tensor(rows, dtype=torch.float32).view(-1, len(Coefficients._fields))


def adam_coefficients(optimizer: torch.optim.Optimizer, lr: float, step: int) -> Coefficients:
    """The coefficients of step `step`, counted from 1, at a learning rate."""
    group = optimizer.defaults
    beta1, beta2 = (float(beta) for beta in group["betas"])
    weight_decay, eps = float(group["weight_decay"]), float(group["eps"])
    is_decoupled = isinstance(optimizer, torch.optim.AdamW) or group.get("decoupled_weight_decay")
    root = math.sqrt(1 - beta2**step)
    adam = Coefficients(
        l2=0.0 if is_decoupled else weight_decay,
        decay=1 - lr * weight_decay if is_decoupled else 1.0,
        rest1=1 - beta1,
        beta2=beta2,
        rest2=1 - beta2,
        by_first=lr / (1 - beta1**step) * root,
        by_gradient=0.0,
        eps=eps * root,
    )
    if isinstance(optimizer, torch.optim.RAdam):  # Liu et al., arXiv 1908.03265
        longest = 2 / (1 - beta2) - 1
        n = longest - 2 * step * beta2**step / (1 - beta2**step)
        if n <= 5:  # the root's variance is unknown
            return adam._replace(by_first=adam.by_first / root, divides=0.0)
        factor = math.sqrt((n - 4) * (n - 2) * longest / ((longest - 4) * (longest - 2) * n))
        return adam._replace(by_first=adam.by_first * factor, eps=eps)
    if isinstance(optimizer, torch.optim.NAdam):  # Dozat 2016: a part is of the gradient itself
        rate, psi = lr * root, float(group["momentum_decay"])
        momenta = [beta1 * (1 - 0.5 * 0.96 ** (t * psi)) for t in range(1, step + 2)]
        product = math.prod(momenta[:step])
        by_first = rate * momenta[step] / (1 - product * momenta[step])
        by_gradient = rate * (1 - momenta[step - 1]) / (1 - product)
        return adam._replace(by_first=by_first, by_gradient=by_gradient)
    return adam


def soap_coefficients(optimizer: torch.optim.Optimizer, lr: float, step: int) -> Coefficients:
    """Those of Adam a step later, as the first finds the bases and moves nothing."""
    none = adam_coefficients(optimizer, 0.0, 1)._replace(rest1=0.0, beta2=1.0, rest2=0.0)
    adam = adam_coefficients(optimizer, lr, step - 1) if step > 1 else none
    group = optimizer.defaults
    rest, iterations = 1 - group["shampoo_beta"], n_iterations(step, group)
    return adam._replace(rest_products=rest, iterations=iterations)


class RowLayout:
    """Where a block's parameters are in its row: in the network's order, the amplitude last."""

    def __init__(
        self,
        network: BlockNetwork,
        order: Callable[[str], int] = lambda name: name == AMPLITUDE,
        padded: Callable[[int], int] = int,
        part: int = 1,
    ) -> None:
        """Sort by `order` of a name; sides grow to `padded`, the readout starts a whole `part`."""
        self.shapes, self.offsets, self._padded = network.shapes(), dict[str, int](), padded
        offset = 0
        for name in sorted(self.shapes, key=order):
            if name in (WEIGHT, AMPLITUDE):
                offset = -(-offset // part) * part
            self.offsets[name] = offset
            offset += math.prod(map(padded, self.shapes[name]))
        self.length = -(-offset // part) * part

    def rows(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Parameters `(B, ...)` as rows `(B, length)`; what is missing is zero."""
        some = next(iter(parameters.values()))
        rows = some.new_zeros(len(some), self.length)
        for name, part in self.parameters(rows).items():
            if name in parameters:
                part.copy_(parameters[name])
        return rows

    def parameters(self, rows: Tensor) -> Parameters:
        """All parameters `(B, ...)` as views of rows."""
        found = {}
        for name, shape in self.shapes.items():
            padded = tuple(map(self._padded, shape))
            part = rows[:, self.offsets[name] :][:, : math.prod(padded)]
            found[name] = part.view(len(rows), *padded)[(slice(None), *map(slice, shape))]
        return found


class RowTrainer(BlockTrainer):
    """Rows of `trained` parameters and two moments; programs pass over those not in `training`."""

    n_rows: ClassVar[int]  # of a block, in memory
    layout_of: ClassVar[type[RowLayout]]

    def __init__(self, problem: BlockProblem) -> None:
        super().__init__(problem)
        network, readout, _, _, targets, start = problem
        self.numbers = NetworkNumbers.of(network, readout, self.settings.loss)
        self.layout = self.layout_of(network)
        self.trained = self.layout.rows(readout.constants(targets, start) | start)
        self.first, self.second = torch.zeros_like(self.trained), torch.zeros_like(self.trained)
        self.best_rows = self.trained.clone()
        self.best = self.layout.parameters(self.best_rows)
        self.training = torch.ones_like(self.mse, dtype=torch.int8)
        self.coefficients = coefficients_of(self.settings).to(targets.device)
        bases = self.coefficients[:, Coefficients._fields.index("rest_products")]
        self.has_bases = bool(bases.any())  # SOAP's

    def deactivate(self, blocks: Tensor) -> bool:
        """Leave blocks out; says if all are out, on a GPU never: asking would mean waiting."""
        self.training = (~blocks).to(torch.int8)
        return not (self.training.is_cuda or self.training.any())

    @staticmethod
    @abstractmethod
    def outputs(network: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
        """Values `(B, C, P)` at encoded coordinates `(E, P)`, as `BlockNetwork.outputs` gives."""
