"""What a network of another method has in common with the others."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

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
        """Trained numbers; a complex one counts as two."""
        return sum(p.numel() * (2 if p.is_complex() else 1) for p in self.parameters())
