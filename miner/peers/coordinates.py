"""Multilayer perceptrons from coordinates to values, which differ in activation and first draw."""

import math
from abc import abstractmethod
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from miner.peers.network import PeerNetwork, Sides

TRUNCATED_STD = 0.8796256610342398  # of a standard normal cut off at 2


class CoordinateMLP(PeerNetwork):
    """`depth` hidden layers of width `size`, each with an activation, and a linear one.

    Weights and biases start as `torch.nn.Linear` draws them, uniform in +-1 / sqrt(n) for n inputs;
    subclasses draw again what their authors draw otherwise. `dtype` is of all layers but the first.
    """

    def __init__(
        self,
        sides: Sides,
        n_outputs: int,
        size: int,
        depth: int,
        n_inputs: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(sides, n_outputs, size)
        widths = [size] * depth + [n_outputs]
        first = nn.Linear(n_inputs or len(sides), size)
        others = [nn.Linear(n, m, dtype=dtype) for n, m in pairwise(widths)]
        self.layers = nn.ModuleList([first, *others])

    def encode(self, xy: Tensor) -> Tensor:
        """Inputs `(P, E)` of the first layer."""
        return xy

    @abstractmethod
    def activation(self, z: Tensor) -> Tensor:
        """What follows a hidden layer."""

    def forward(self, xy: Tensor) -> Tensor:
        """Values of the last layer."""
        *hidden, last = self.layers
        x = self.encode(xy)
        for layer in hidden:
            x = self.activation(layer(x))
        values: Tensor = last(x)
        return values


class FourierFeatures(CoordinateMLP):
    """ReLU network on random Fourier features (Tancik et al. 2020, arXiv 2006.10739).

    Features are [sin(2 pi B v), cos(2 pi B v)] of v in [0, 1]^D; the entries of B `(F, D)` are
    drawn from N(0, scale^2) and not trained. The output passes a sigmoid. As in the notebooks of
    tancik/fourier-feature-networks: weights after Glorot, a normal truncated at two deviations,
    and biases from N(0, 0.01^2). By default there are as many frequencies as hidden features, as
    the authors have 256 of both.
    """

    def __init__(
        self,
        sides: Sides,
        n_outputs: int,
        size: int,
        depth: int = 3,
        n_frequencies: int | None = None,
        scale: float = 10.0,
    ) -> None:
        n_frequencies = size if n_frequencies is None else n_frequencies
        super().__init__(sides, n_outputs, size, depth, n_inputs=2 * n_frequencies)
        self.frequencies: Tensor
        self.register_buffer("frequencies", scale * torch.randn(n_frequencies, len(sides)))
        for layer in self.layers:
            weight = layer.get_parameter("weight")
            std = math.sqrt(2 / sum(weight.shape)) / TRUNCATED_STD
            nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
            nn.init.normal_(layer.get_parameter("bias"), std=0.01)

    def encode(self, xy: Tensor) -> Tensor:
        """All sines, then all cosines."""
        phases = math.pi * (xy + 1) @ self.frequencies.T
        return torch.cat([phases.sin(), phases.cos()], dim=-1)

    def activation(self, z: Tensor) -> Tensor:
        """max(z, 0)."""
        return z.relu()

    def forward(self, xy: Tensor) -> Tensor:
        """Values in (0, 1)."""
        return super().forward(xy).sigmoid()


class Siren(CoordinateMLP):
    """sin(omega z) (Sitzmann et al. 2020, arXiv 2006.09661, sec. 3.2).

    As in vsitzmann/siren: weights uniform in +-1 / n in the first layer and in
    +-sqrt(6 / n) / omega in all others, the last one included; biases as torch draws them.
    """

    value_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __init__(
        self, sides: Sides, n_outputs: int, size: int, depth: int = 4, omega: float = 30.0
    ) -> None:
        super().__init__(sides, n_outputs, size, depth)
        self.omega = omega
        _draw_sine_weights(self.layers, omega)

    def activation(self, z: Tensor) -> Tensor:
        """sin(omega z)."""
        return (self.omega * z).sin()


class Finer(CoordinateMLP):
    """sin(omega (|z| + 1) z), a sine of varying period (Liu et al. 2024, arXiv 2312.02434).

    As in liuzhen0212/FINER: weights as of SIREN; the factor |z| + 1 has no gradient. Biases of the
    first layer are uniform in +-`first_bias`; None leaves them in +-1 / sqrt(D), as the official
    commands for images do.
    """

    value_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __init__(
        self,
        sides: Sides,
        n_outputs: int,
        size: int,
        depth: int = 4,
        omega: float = 30.0,
        first_bias: float | None = None,
    ) -> None:
        super().__init__(sides, n_outputs, size, depth)
        self.omega = omega
        _draw_sine_weights(self.layers, omega)
        if first_bias is not None:
            nn.init.uniform_(self.layers[0].get_parameter("bias"), -first_bias, first_bias)

    def activation(self, z: Tensor) -> Tensor:
        """sin(omega (|z| + 1) z)."""
        return (self.omega * (z.detach().abs() + 1) * z).sin()


class Gauss(CoordinateMLP):
    """exp(-(s z)^2) (Ramasinghe and Lucey 2022, arXiv 2111.15135).

    As in vishwa91/wire, where s = 1 / (sqrt(2) a) of the paper is the same for all layers and not
    trained; weights and biases as torch draws them.
    """

    def __init__(
        self, sides: Sides, n_outputs: int, size: int, depth: int = 3, scale: float = 30.0
    ) -> None:
        super().__init__(sides, n_outputs, size, depth)
        self.scale = scale

    def activation(self, z: Tensor) -> Tensor:
        """exp(-(s z)^2)."""
        return (-(self.scale * z).square()).exp()


class Wire(CoordinateMLP):
    """Complex Gabor wavelet exp(j omega z - |s z|^2) (Saragadam et al. 2023, arXiv 2301.05187).

    As in vishwa91/wire: the first layer is real, all others complex, real and imaginary parts of
    weights and biases as torch draws them; omega and s are not trained; the values are the real
    part of the last layer. `size` counts complex features: the official code takes
    hidden_features / sqrt(2) of them.
    """

    def __init__(
        self,
        sides: Sides,
        n_outputs: int,
        size: int,
        depth: int = 3,
        omega: float = 20.0,
        scale: float = 30.0,
    ) -> None:
        super().__init__(sides, n_outputs, size, depth, dtype=torch.complex64)
        self.omega, self.scale = omega, scale

    def activation(self, z: Tensor) -> Tensor:
        """exp(j omega z - |s z|^2)."""
        return (1j * self.omega * z - (self.scale * z).abs().square()).exp()

    def forward(self, xy: Tensor) -> Tensor:
        """The real part."""
        return super().forward(xy).real


def _draw_sine_weights(layers: nn.ModuleList, omega: float) -> None:
    for index, layer in enumerate(layers):
        weight = layer.get_parameter("weight")
        n = weight.shape[1]
        bound = math.sqrt(6 / n) / omega if index else 1 / n
        nn.init.uniform_(weight, -bound, bound)
