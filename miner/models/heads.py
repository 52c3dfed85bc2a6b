"""Output layers: from hidden features `(B, H, P)` to values `(B, C, P)`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from miner.support.tensors import Tensor

WEIGHT, BIAS = "readout.weight", "readout.bias"
AMPLITUDE, FREQUENCY = "readout.amplitude", "readout.frequency"


@dataclass(frozen=True)
class Head(ABC):
    """A function of the affine map z; every block has `readout.weight` `(H, C)` and a bias."""

    def shapes(self, n_features: int, n_channels: int) -> dict[str, tuple[int, ...]]:
        """Shape of every readout parameter of one block."""
        return {WEIGHT: (n_features, n_channels), BIAS: (n_channels,)}

    @abstractmethod
    def outputs(self, features: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Values `(B, C, P)` of features `(B, H, P)`."""


@dataclass(frozen=True)
class LinearHead(Head):
    """The affine map z itself; its best weights have a closed form."""

    def outputs(self, features: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """z = W features + b."""
        weight = parameters[WEIGHT].transpose(1, 2)
        return parameters[BIAS].unsqueeze(-1).baddbmm(weight, features)


@dataclass(frozen=True)
class SigmoidHead(LinearHead):
    """sigmoid(z), for values in the unit range."""

    def outputs(self, features: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """sigmoid(z)."""
        return super().outputs(features, parameters).sigmoid()


@dataclass(frozen=True)
class ScaledSineHead(LinearHead):
    """MINER_pl's for residuals: A sin(a z), A the block's largest one, stored, and a trained."""

    def shapes(self, n_features: int, n_channels: int) -> dict[str, tuple[int, ...]]:
        """Amplitude and frequency besides weight and bias."""
        return super().shapes(n_features, n_channels) | {AMPLITUDE: (), FREQUENCY: ()}

    def outputs(self, features: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """A sin(a z)."""
        amplitude, frequency = (parameters[k].view(-1, 1, 1) for k in (AMPLITUDE, FREQUENCY))
        return amplitude * (frequency * super().outputs(features, parameters)).sin()
