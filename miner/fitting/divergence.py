"""Fits that went astray: when a block has diverged, and what is said when all have."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from miner.fitting.optimizer import OptimizerFactory

RATE_OF_REFIT = 0.1
"""Blocks that diverged are fitted again at this part of their rate."""


class DivergenceError(ValueError):
    """The blocks of a chunk diverged, one and all; the message says what to change."""


def has_diverged(first: Tensor, last: Tensor, max_mse: float) -> Tensor:
    """Mask `(B,)` of the blocks that training made worse, from their first and last errors.

    Their last error is not finite, or above both the first one and `max_mse`.
    """
    return ~last.isfinite() | ((last > first) & (last > max_mse))


def refuse_if_all(diverged_again: Sequence[Tensor], optimizer: OptimizerFactory) -> None:
    """Stop a fit whose rate is too high for every block.

    Takes the masks `(B,)` of the groups of a chunk: which blocks diverged, and again at the lower
    rate. No masks, or empty ones, are fine.

    Raises:
        DivergenceError: all blocks did.
    """
    masks = torch.cat([torch.empty(0, dtype=torch.bool), *diverged_again])
    if len(masks) == 0 or not bool(masks.all()):
        return
    rate = float(optimizer([nn.Parameter(torch.zeros(1))]).param_groups[0]["lr"])
    raise DivergenceError(
        f"optimizer.lr={rate:g}: all {len(masks)} blocks diverged, and again at "
        f"{RATE_OF_REFIT * rate:g}; lower it, to {RATE_OF_REFIT**2 * rate:g} or less"
    )
