"""What the compiled steps know: networks, optimizers, losses and schedules as numbers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from miner.fitting.criteria import LogMSELoss, MSELoss
from miner.fitting.readout import ClosedFormReadout, LearnedReadout, Readout
from miner.fitting.steps import StepSettings
from miner.models.activations import Activation, Finer, Gabor, Gaussian, ReLU, Sine, Siren
from miner.models.heads import Head, LinearHead, ScaledSineHead, SigmoidHead
from miner.models.network import BlockNetwork

# In the order of the enumerations in activations.h and readout.h.
_ACTIVATIONS: tuple[type[Activation], ...] = (Gaussian, Sine, Siren, ReLU, Gabor, Finer)


_HEADS: tuple[type[Head], ...] = (LinearHead, SigmoidHead, ScaledSineHead)


class UnsupportedError(Exception):
    """The compiled steps do not know a setting; the message names it."""


@dataclass(frozen=True)
class Network:
    """Fields of `Work` in block_step.c. `omega` is Siren's fixed scale, `ridge` a closed form's."""

    inputs: int
    width: int
    depth: int
    channels: int
    activation: int
    head: int
    solved: bool
    omega: float
    ridge: float

    @staticmethod
    def of(model: BlockNetwork, readout: Readout) -> "Network":
        """The network of a level's blocks.

        Raises:
            UnsupportedError: one of its classes is not known; a subclass may do something else.
        """
        mlp = model.mlp
        is_solved = type(readout) is ClosedFormReadout
        if not is_solved and type(readout) is not LearnedReadout:
            raise UnsupportedError(f"readout {type(readout).__name__} is not compiled")
        return Network(
            inputs=mlp.encoding.n_outputs(mlp.n_axes),
            width=mlp.width,
            depth=mlp.depth,
            channels=model.n_channels,
            activation=_number(mlp.activation, _ACTIVATIONS, "activation"),
            head=_number(model.head, _HEADS, "output head"),
            solved=is_solved,
            omega=mlp.activation.omega if isinstance(mlp.activation, Siren) else 1.0,
            ridge=readout.ridge if isinstance(readout, ClosedFormReadout) else 0.0,
        )


def _number(part: object, known: tuple[type, ...], role: str) -> int:
    if type(part) not in known:
        raise UnsupportedError(f"{role} {type(part).__name__} is not compiled")
    return known.index(type(part))


class Row(NamedTuple):
    """One step, in the order in which `update` of block_step.c reads it.

    The gradient g gets `l2` times the parameter. First moment: m += rest1 (g - m). Second moment:
    v = beta2 v + rest2 g^2. The parameter is multiplied by `keep` and loses by_first m +
    by_gradient g, which is divided by sqrt(v) + eps if `divides` is 1.
    """

    l2: float
    compact: float
    rest1: float
    beta2: float
    rest2: float
    by_first: float
    by_gradient: float
    eps: float
    divides: float = 1.0


_KNOWN = (torch.optim.Adam, torch.optim.AdamW, torch.optim.RAdam, torch.optim.NAdam)


def check_formulas(settings: StepSettings) -> None:
    """Refuse losses and optimisers that the compiled steps do not know.

    Raises:
        UnsupportedError: the message names the setting.
    """
    if type(settings.loss) not in (MSELoss, LogMSELoss):
        raise UnsupportedError(f"loss {type(settings.loss).__name__} is not compiled")
    check(settings.optimizer([nn.Parameter(torch.zeros(1))]))


def check(optimizer: torch.optim.Optimizer) -> None:
    """Refuse what has no rows.

    Raises:
        UnsupportedError: another class, or one of the options that change the formula.
    """
    if type(optimizer) not in _KNOWN:
        raise UnsupportedError(
            f"optimizer {type(optimizer).__name__} is not among the compiled ones"
        )
    for option in ("amsgrad", "maximize"):
        if optimizer.param_groups[0].get(option):
            raise UnsupportedError(f"optimizer.{option}=true is not compiled")


def row(optimizer: torch.optim.Optimizer, lr: float, step: int) -> Row:
    """The row of step `step`, counted from 1, at a learning rate."""
    group = optimizer.param_groups[0]
    beta1, beta2 = (float(beta) for beta in group["betas"])
    decay, eps = float(group["weight_decay"]), float(group["eps"])
    is_decoupled = isinstance(optimizer, torch.optim.AdamW) or group.get("decoupled_weight_decay")
    l2, compact = (0.0, 1 - lr * decay) if is_decoupled else (decay, 1.0)
    root = math.sqrt(1 - beta2**step)
    plain = Row(
        l2=l2,
        compact=compact,
        rest1=1 - beta1,
        beta2=beta2,
        rest2=1 - beta2,
        by_first=lr / (1 - beta1**step) * root,
        by_gradient=0.0,
        eps=eps * root,
    )
    if isinstance(optimizer, torch.optim.RAdam):
        rectified = _rectified(beta2, step)
        if rectified is None:
            return plain._replace(by_first=plain.by_first / root, divides=0.0)
        return plain._replace(by_first=plain.by_first * rectified, eps=eps)
    if isinstance(optimizer, torch.optim.NAdam):
        by_first, by_gradient = _nadam(group, lr * root, step)
        return plain._replace(by_first=by_first, by_gradient=by_gradient)
    return plain


def _rectified(beta2: float, step: int) -> float | None:
    """RAdam's factor (Liu et al., arXiv 1908.03265); None while the root's variance is unknown."""
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * step * beta2**step / (1 - beta2**step)
    if length <= 5:
        return None
    return math.sqrt(
        (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    )


def _nadam(group: Mapping[str, Any], rate: float, step: int) -> tuple[float, float]:
    """Dozat 2016: part of the step comes from the gradient itself."""
    beta1, psi = float(group["betas"][0]), float(group["momentum_decay"])
    momenta = [beta1 * (1 - 0.5 * 0.96 ** (t * psi)) for t in range(1, step + 2)]
    product = math.prod(momenta[:step])
    return (
        rate * momenta[step] / (1 - product * momenta[step]),
        rate * (1 - momenta[step - 1]) / (1 - product),
    )
