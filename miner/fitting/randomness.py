"""Random numbers as a function of what they are for, never of a global generator's state."""

import hashlib

import torch
from torch import Tensor


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator seeded by a key such as `(seed, level)` or `(seed, level, step)`."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def pixel_subset(n_pixels: int, n_drawn: int, step: int, *key: int | str) -> Tensor:
    """Pixel numbers of one step, drawn without replacement.

    A pass visits every pixel once, `n_drawn` at a time; the next pass has another order.
    """
    steps_per_pass = -(-n_pixels // n_drawn)
    turn, part = divmod(step, steps_per_pass)
    order = torch.randperm(n_pixels, generator=generator(*key, turn))
    return order[part * n_drawn : (part + 1) * n_drawn]
