"""Types of PyTorch for modules that are read before it is imported, which takes seconds."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch import device as Device
else:
    Device = Generator = Tensor = Any

Parameters = dict[str, Tensor]
"""Name to tensor `(B, ...)`; the trailing sides are those of one block's parameter."""

__all__ = ["Device", "Generator", "Parameters", "Tensor"]
