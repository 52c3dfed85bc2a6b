"""What a network of another method has in common with the others."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from miner.support.errors import ConfigError

Sides = tuple[int, ...]
"""Of a signal, rows first."""


class PeerNetwork(nn.Module, ABC):
    """A network from coordinates to values. Subclasses take `(sides, n_outputs, size, **own)`.

    `sides` are the signal's, rows first; `size` is any whole number from 1, and more of it means
    more parameters. What is drawn comes from torch's global generator.
    """

    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)  # that its authors scale targets to

    def __init__(self, sides: Sides, n_outputs: int, size: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"size={size}: a network needs at least 1")
        self.sides, self.n_outputs, self.size = tuple(sides), n_outputs, size

    @abstractmethod
    def forward(self, xy: Tensor) -> Tensor:
        """Values `(P, C)` at coordinates `(P, D)` in [-1, 1], one axis a column as in `sides`."""

    @property
    def n_parameters(self) -> int:
        """Stored numbers; a complex one counts as two."""
        return sum(v.numel() * (1 + v.is_complex()) for v in self.state_dict().values())


@contextmanager
def _refusal() -> Iterator[None]:
    """Turn what a network raises into a `ConfigError`, without the warnings before it."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except ConfigError:
        raise
    except (AttributeError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"method.network: {reason}; is every setting one it takes?") from None


@_refusal()
def count_parameters(make: Callable[..., Any], sides: Sides, n_channels: int, size: int) -> int:
    """Stored numbers of a network, which takes no memory; `ConfigError` if it cannot be built."""
    with torch.device("meta"):
        return int(make(sides, n_channels, size).n_parameters)


@_refusal()
def check_network(make: Callable[..., Any], sides: Sides, n_channels: int) -> None:
    """Refuse, by a `ConfigError`, a network that breaks a rule of `PeerNetwork`.

    A small one is called on the CPU, as not every `forward` works on the meta device.
    """
    least, more = (count_parameters(make, sides, n_channels, size) for size in (1, 64))
    if least >= more:
        raise ValueError(f"{least} parameters at size 1, {more} at 64: they must grow with it")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        values = make(sides, n_channels, n_channels + 1)(torch.zeros(2, len(sides)))
    if (shape := tuple(values.shape)) != (2, n_channels):
        raise ValueError(f"values {shape} at 2 coordinates: must be {2, n_channels}")
