"""Parameters of many blocks: named tensors stacked along a leading block axis."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Parameters = dict[str, Tensor]
"""Name to tensor `(B, ...)`; the trailing sides are those of one block's parameter."""


def select(parameters: Mapping[str, Tensor], index: Tensor) -> Parameters:
    """The parameters of some blocks, in the order of `index` (numbers or a mask)."""
    return {name: tensor[index] for name, tensor in parameters.items()}


def concatenate(parts: Sequence[Mapping[str, Tensor]]) -> Parameters:
    """Blocks of several parts one after another; all parts hold the same names."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def moved(parameters: Mapping[str, Tensor], device: torch.device) -> Parameters:
    """The parameters on a device."""
    return {name: tensor.to(device) for name, tensor in parameters.items()}


def repeat(one: Mapping[str, Tensor], n_blocks: int) -> Parameters:
    """`n_blocks` copies of the parameters of a single block, which have no block axis."""
    return {name: tensor.expand(n_blocks, *tensor.shape).clone() for name, tensor in one.items()}


def where(condition: Tensor, new: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> Parameters:
    """`new` for the blocks where `condition` `(B,)` holds, `old` for the others."""
    return {
        name: torch.where(condition.view(-1, *[1] * (tensor.ndim - 1)), new[name], tensor)
        for name, tensor in old.items()
    }
