"""What the compiled steps know of a network: sizes, and numbers for its classes."""

from dataclasses import dataclass

from miner.fitting.readout import ClosedFormReadout, LearnedReadout, Readout
from miner.models.activations import Activation, Finer, Gabor, Gaussian, ReLU, Sine, Siren
from miner.models.block_model import BlockModel
from miner.models.heads import Head, LinearHead, ScaledSineHead, SigmoidHead

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
    def of(model: BlockModel, readout: Readout) -> "Network":
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
