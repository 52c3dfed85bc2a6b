"""How many blocks are in computation at once: bounds memory, and gives way where it runs out."""

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_SHARE_OF_FREE = 0.8  # the rest is for what lasts a moment


class BlockTooLargeError(RuntimeError):
    """Not even one block fits into memory; the message says what to change."""


class Memory:
    """The memory of a device for the blocks in computation.

    It is limited by a setting and by what is free. Where it runs out all the same, half as many
    blocks are tried again, and no more from then on.
    """

    def __init__(self, device: torch.device, limit_gib: float) -> None:
        """Take the device, and how many GiB blocks may take there."""
        self.device, self._limit_gib = device, limit_gib
        self._share = 1.0

    def gib(self, n_users: int) -> float:
        """What each of so many that compute at the same time may take."""
        if self.device.type != "cuda":
            return self._limit_gib / n_users
        free, _ = torch.cuda.mem_get_info(self.device)
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return min(self._limit_gib, _SHARE_OF_FREE * (free + kept) / 2**30) / n_users

    def in_parts(
        self, members: Tensor, most: int, compute: Callable[[Tensor], T]
    ) -> Iterator[tuple[Tensor, T]]:
        """Parts of some blocks, at most so many at once, and what is computed of each.

        Raises:
            BlockTooLargeError: memory runs out for a single block.
        """
        while len(members):
            part = members[: max(1, round(self._share * most))]
            try:
                result = compute(part)
            except torch.OutOfMemoryError as error:
                if len(part) == 1:
                    raise self._too_large(most) from error
            else:
                yield part, result
                members = members[len(part) :]
                continue
            # Here and not in the handler: its traceback holds what the attempt had allocated.
            self._halve(len(part), most)

    def _halve(self, tried: int, most: int) -> None:
        self._share = min(self._share, (tried // 2) / most)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        _LOG.warning(
            "%s: %d blocks at once do not fit into memory; going on with %d",
            self.device,
            tried,
            tried // 2,
        )

    def _too_large(self, most: int) -> BlockTooLargeError:
        return BlockTooLargeError(
            f"fitting.max_memory_gib={self._limit_gib:g}: {most} blocks at once should fit, but on "
            f"{self.device} memory runs out for one; end what else uses it, or take a smaller "
            "patch_size or model.width, or the CPU"
        )
