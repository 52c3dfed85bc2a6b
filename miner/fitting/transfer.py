"""Many small tensors brought from a device at once, so that it is waited for once."""

from collections.abc import Sequence

import torch
from torch import Tensor


def from_device(found: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of any lengths `(B,)` on the CPU, in one transfer."""
    if not found:
        return []
    joined = torch.cat(list(found)).cpu()
    return [part.clone() for part in joined.split([len(part) for part in found])]


def as_numbers(sums: Sequence[Tensor]) -> list[float]:
    """Tensors `()` as numbers, in one transfer."""
    return torch.stack(list(sums)).tolist() if sums else []
