"""How parameters are written: the precision of what is stored, rendered and scored."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from miner.models.network import Parameters

_SCALE = ".scale"


@dataclass(frozen=True)
class Storage(ABC):
    """How float32 parameters are stored; every renderer uses what `decode` gives."""

    is_exact: ClassVar[bool] = False
    """Whether decoding gives back what was encoded."""

    @abstractmethod
    def encode(self, parameters: Mapping[str, Tensor]) -> Parameters:
        """Stored tensors of parameters `(B, ...)`, all with the block axis first."""

    def decode(self, stored: Mapping[str, Tensor]) -> Parameters:
        """Float32 parameters of stored tensors."""
        return {name: tensor.float() for name, tensor in stored.items()}

    def layout(
        self, shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Type and shape, per block, of every stored tensor for parameters of these shapes."""
        stored = self.encode({name: torch.empty(0, *shape) for name, shape in shapes.items()})
        return {name: (tensor.dtype, tuple(tensor.shape[1:])) for name, tensor in stored.items()}


@dataclass(frozen=True)
class Float32Storage(Storage):
    """Four bytes a parameter."""

    is_exact: ClassVar[bool] = True

    def encode(self, parameters: Mapping[str, Tensor]) -> Parameters:
        """The parameters themselves."""
        return dict(parameters)


@dataclass(frozen=True)
class Float16Storage(Storage):
    """Two bytes a parameter."""

    def encode(self, parameters: Mapping[str, Tensor]) -> Parameters:
        """Round to half precision."""
        return {name: tensor.half() for name, tensor in parameters.items()}


@dataclass(frozen=True)
class Int8Storage(Storage):
    """One byte a parameter, with a float16 scale per block and tensor; lone numbers are float16."""

    def encode(self, parameters: Mapping[str, Tensor]) -> Parameters:
        """Round to 255 symmetric levels."""
        stored = {name: tensor.half() for name, tensor in parameters.items()}
        for name, tensor in parameters.items():
            if tensor.ndim > 1:
                peak = tensor.flatten(1).abs().amax(1)
                scale = (peak / 127).half()
                # A scale that rounds down would clip the largest value; zero would divide by zero.
                larger = torch.nextafter(scale, torch.full_like(scale, torch.inf))
                scale = torch.where(scale.float() * 127 < peak, larger, scale)
                divisor = _per_block(scale.float().clamp(min=1e-12), tensor)
                levels = (tensor / divisor).round().clamp(-127, 127).to(torch.int8)
                stored |= {name: levels, name + _SCALE: scale}
        return stored

    def decode(self, stored: Mapping[str, Tensor]) -> Parameters:
        """Multiply by the scales."""
        decoded = super().decode(stored)
        scales = {n: decoded.pop(n + _SCALE) for n in stored if n + _SCALE in stored}
        return decoded | {n: decoded[n] * _per_block(scales[n], decoded[n]) for n in scales}


def _per_block(numbers: Tensor, tensor: Tensor) -> Tensor:
    return numbers.view(-1, *[1] * (tensor.ndim - 1))
