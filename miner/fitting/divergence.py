"""Fits that went astray: when a block has diverged, and what is said when all have."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from miner.fitting.optimizer import OptimizerFactory

RATE_OF_REFIT = 0.1
"""Blocks that diverged are fitted again at this part of their rate."""


class DivergenceError(ValueError):
    """Most blocks of a chunk diverged; the message says what to change."""


def has_diverged(first: Tensor, last: Tensor, max_mse: float) -> Tensor:
    """Mask `(B,)` of the blocks that training made worse, from their first and last errors.

    Their last error is not finite, or above both the first one and `max_mse`.
    """
    return ~last.isfinite() | ((last > first) & (last > max_mse))


def refuse_if_most(diverged_again: Sequence[Tensor], optimizer: OptimizerFactory) -> None:
    """Stop a fit whose rate is too high for more than half of the blocks: it would come to nothing.

    Takes the masks `(B,)` of the groups of a chunk: which blocks diverged, and again at the lower
    rate. No masks, or empty ones, are fine. At an absurd rate the others are those whose starts
    are good enough already.

    Raises:
        DivergenceError: more than half of them did.
    """
    masks = torch.cat([torch.empty(0, dtype=torch.bool), *diverged_again])
    n_diverged = int(masks.sum())
    if 2 * n_diverged <= len(masks):
        return
    rate = float(optimizer([nn.Parameter(torch.zeros(1))]).param_groups[0]["lr"])
    advice = "lower it: 0.001 to 0.05 suit most fits"
    if rate <= 0.05:
        advice = "lower it, or mind the constants of activation and encoding"
    raise DivergenceError(
        f"optimizer.lr={rate:g}: {n_diverged} of {len(masks)} blocks diverged, and again at "
        f"{RATE_OF_REFIT * rate:g}; {advice}"
    )
