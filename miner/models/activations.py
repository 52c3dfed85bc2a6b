"""Activations of the hidden layers: functions of `u = scale * z`, z being a layer's affine map."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from miner.support.ranges import Positive
from miner.support.tensors import Tensor


@dataclass(frozen=True)
class Activation(ABC):
    """A nonlinearity of a block MLP. Subclass this and name the class in a YAML file to add one."""

    trained_fields: ClassVar[tuple[str, ...]] = ()  # one trained number per block and layer

    def initial(self) -> dict[str, float]:
        """Trained numbers of a layer and their values at the start."""
        return {name: getattr(self, name) for name in self.trained_fields}

    def scale(self, trained: Mapping[str, Tensor]) -> Tensor | float:
        """Factor on z, from trained tensors `(B, 1, 1)`; weights get it, so pixels cost nothing."""
        return 1.0

    def bounds(self, layer: int, fan_in: int) -> tuple[float, float]:
        """Half widths of the uniform starting draw of weights and biases of a hidden layer."""
        return 1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)

    @abstractmethod
    def __call__(self, u: Tensor, trained: Mapping[str, Tensor]) -> Tensor:
        """Apply to scaled pre-activations `(B, H, P)`; `trained` tensors are `(B, 1, 1)`."""


@dataclass(frozen=True)
class Gaussian(Activation):
    """exp(-z^2 / 2a^2) with a trained width a ("Beyond periodicity", arXiv 2111.15135)."""

    trained_fields = ("a",)
    a: Positive = 0.1

    def scale(self, trained: Mapping[str, Tensor]) -> Tensor:
        """1 / (sqrt(2) a)."""
        return math.sqrt(0.5) / trained["a"]

    def __call__(self, u: Tensor, trained: Mapping[str, Tensor]) -> Tensor:
        """exp(-u^2)."""
        return (-u.square()).exp()


@dataclass(frozen=True)
class Sine(Activation):
    """sin(z / a) with a trained per block and layer (as SIREN, with a learned frequency)."""

    trained_fields = ("a",)
    a: Positive = 0.2

    def scale(self, trained: Mapping[str, Tensor]) -> Tensor:
        """1 / a."""
        return 1 / trained["a"]

    def __call__(self, u: Tensor, trained: Mapping[str, Tensor]) -> Tensor:
        """sin(u)."""
        return u.sin()


@dataclass(frozen=True)
class Siren(Activation):
    """sin(omega z) with fixed omega and SIREN's own initialisation (arXiv 2006.09661, sec. 3.2)."""

    omega: Positive = 30.0

    def scale(self, trained: Mapping[str, Tensor]) -> float:
        """omega."""
        return self.omega

    def bounds(self, layer: int, fan_in: int) -> tuple[float, float]:
        """1/n in the first layer, sqrt(6/n)/omega after it; biases as in a plain linear layer."""
        weight = 1 / fan_in if layer == 0 else math.sqrt(6 / fan_in) / self.omega
        return weight, 1 / math.sqrt(fan_in)

    def __call__(self, u: Tensor, trained: Mapping[str, Tensor]) -> Tensor:
        """sin(u)."""
        return u.sin()


@dataclass(frozen=True)
class ReLU(Activation):
    """max(z, 0), weights drawn after He et al. (arXiv 1502.01852)."""

    def bounds(self, layer: int, fan_in: int) -> tuple[float, float]:
        """sqrt(6/n) keeps the variance; biases spread the kinks over the patch."""
        return math.sqrt(6 / fan_in), 1 / math.sqrt(fan_in)

    def __call__(self, u: Tensor, trained: Mapping[str, Tensor]) -> Tensor:
        """max(u, 0)."""
        return u.relu()


@dataclass(frozen=True)
class Gabor(Activation):
    """cos(omega z) exp(-(s z)^2), the real part of WIRE's wavelet (arXiv 2301.05187, eq. 2)."""

    trained_fields = ("omega", "s")
    omega: Positive = 2.0
    s: Positive = 2.0

    def scale(self, trained: Mapping[str, Tensor]) -> Tensor:
        """omega."""
        return trained["omega"]

    def __call__(self, u: Tensor, trained: Mapping[str, Tensor]) -> Tensor:
        """cos(u) exp(-(s/omega u)^2)."""
        ratio = trained["s"] / trained["omega"]
        return u.cos() * (-(ratio * u).square()).exp()


@dataclass(frozen=True)
class Finer(Sine):
    """sin((|u| + 1) u) with u = z / a (FINER, arXiv 2312.02434, eq. 5), a trained."""

    a: Positive = 0.6
    bias_bound: Positive = 0.5  # decides the frequencies that a neuron starts with

    def bounds(self, layer: int, fan_in: int) -> tuple[float, float]:
        """Those of a plain linear layer, with FINER's wider biases."""
        return 1 / math.sqrt(fan_in), self.bias_bound

    def __call__(self, u: Tensor, trained: Mapping[str, Tensor]) -> Tensor:
        """sin((|u| + 1) u)."""
        return ((u.abs() + 1) * u).sin()
