"""How the fit of a group of blocks went, and what is stored of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.fitting.curves import Curve, merge_curves
from miner.models.parameters import Parameters, concatenate, moved, select
from miner.pyramid.raster import HOST


@dataclass(frozen=True)
class GroupFit:
    """Stored tensors `(B, ...)`, their errors `(B,)`, and how the fit went.

    The error is infinite where a stored number is not finite. Masks `(B,)` say which blocks
    converged, which diverged and were fitted again at a lower rate, and which diverged there too.
    `curve` holds the summed squared error in training, without those second fits.
    """

    stored: Parameters
    mse: Tensor
    converged: Tensor
    diverged: Tensor
    diverged_again: Tensor
    curve: Curve


def joined(parts: Sequence[Tensor], fits: Sequence[GroupFit]) -> GroupFit:
    """The fits of parts that ran one after another as one, in the host's memory.

    `parts` says which blocks `(B,)` of the group each of them has.
    """
    order = torch.cat(list(parts)).argsort()

    def together(*tensors: Tensor) -> Tensor:
        return torch.cat(tensors).cpu()[order]

    return GroupFit(
        stored=select(moved(concatenate([fit.stored for fit in fits]), HOST), order),
        mse=together(*(fit.mse for fit in fits)),
        converged=together(*(fit.converged for fit in fits)),
        diverged=together(*(fit.diverged for fit in fits)),
        diverged_again=together(*(fit.diverged_again for fit in fits)),
        curve=merge_curves([fit.curve for fit in fits]),
    )
