"""How parameters are written: the precision of what is stored, rendered and scored."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from miner.models.parameters import Parameters

_SCALE = ".scale"


@dataclass(frozen=True)
class Storage(ABC):
    """A reversible layout of block parameters whose decoding is what every renderer uses."""

    is_exact: ClassVar[bool] = False
    """Whether decoding gives back what was encoded."""

    @abstractmethod
    def encode(self, parameters: Mapping[str, Tensor]) -> Parameters:
        """Stored tensors of float32 parameters `(B, ...)`, all with the block axis first."""

    @abstractmethod
    def decode(self, stored: Mapping[str, Tensor]) -> Parameters:
        """Float32 parameters of stored tensors."""

    @abstractmethod
    def layout(
        self, shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Type and shape, per block, of every stored tensor for parameters of these shapes."""


@dataclass(frozen=True)
class Float32Storage(Storage):
    """Four bytes a parameter."""

    is_exact: ClassVar[bool] = True

    def encode(self, parameters: Mapping[str, Tensor]) -> Parameters:
        """The parameters themselves."""
        return dict(parameters)

    def decode(self, stored: Mapping[str, Tensor]) -> Parameters:
        """The parameters themselves."""
        return dict(stored)

    def layout(
        self, shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """All float32."""
        return {name: (torch.float32, shape) for name, shape in shapes.items()}


@dataclass(frozen=True)
class Float16Storage(Storage):
    """Two bytes a parameter."""

    def encode(self, parameters: Mapping[str, Tensor]) -> Parameters:
        """Round to half precision."""
        return {name: tensor.half() for name, tensor in parameters.items()}

    def decode(self, stored: Mapping[str, Tensor]) -> Parameters:
        """Widen to float32."""
        return {name: tensor.float() for name, tensor in stored.items()}

    def layout(
        self, shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """All float16."""
        return {name: (torch.float16, shape) for name, shape in shapes.items()}


@dataclass(frozen=True)
class Int8Storage(Storage):
    """One byte a parameter, with one float16 scale per block and tensor.

    Tensors with a single number per block (a trained frequency) stay in float16: a scale of their
    own would cost as much.
    """

    def encode(self, parameters: Mapping[str, Tensor]) -> Parameters:
        """Round to 255 symmetric levels."""
        stored: Parameters = {}
        for name, tensor in parameters.items():
            if tensor.ndim == 1:
                stored[name] = tensor.half()
                continue
            peak = tensor.flatten(1).abs().amax(1)
            scale = (peak / 127).half()
            # A scale that rounds down would clip the largest value; zero would divide by zero.
            scale = torch.where(scale.float() * 127 < peak, _next_up(scale), scale)
            stored[name + _SCALE] = scale
            wide = scale.float().clamp(min=1e-12).view(-1, *[1] * (tensor.ndim - 1))
            stored[name] = (tensor / wide).round().clamp(-127, 127).to(torch.int8)
        return stored

    def decode(self, stored: Mapping[str, Tensor]) -> Parameters:
        """Multiply by the scales."""
        parameters: Parameters = {}
        for name, tensor in stored.items():
            if name.endswith(_SCALE):
                continue
            wide = tensor.float()
            if tensor.dtype == torch.int8:
                scale = stored[name + _SCALE].float()
                wide = wide * scale.view(-1, *[1] * (tensor.ndim - 1))
            parameters[name] = wide
        return parameters

    def layout(
        self, shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """int8 with float16 scales; float16 for single numbers."""
        layout: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
        for name, shape in shapes.items():
            if shape == ():
                layout[name] = (torch.float16, ())
            else:
                layout[name] = (torch.int8, shape)
                layout[name + _SCALE] = (torch.float16, ())
        return layout


def _next_up(values: Tensor) -> Tensor:
    return torch.nextafter(values, torch.full_like(values, torch.inf))
