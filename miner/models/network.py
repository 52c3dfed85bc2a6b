"""The small network of a block, hidden layers and output head, and parameters of many blocks."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from miner.models.activations import Activation
from miner.models.encodings import Encoding
from miner.models.heads import Head
from miner.support.components import COMPONENT
from miner.support.errors import ConfigError
from miner.support.ranges import whole
from miner.support.tensors import Device, Generator, Tensor
from miner.support.tensors import Parameters as Parameters

WIDEST = 1024  # features of a hidden layer, at most


def select(parameters: Mapping[str, Tensor], index: Tensor) -> Parameters:
    """The parameters of some blocks, in the order of `index` (numbers or a mask)."""
    return {name: tensor[index] for name, tensor in parameters.items()}


def concatenate(parts: Sequence[Mapping[str, Tensor]]) -> Parameters:
    """Blocks of several parts one after another; all parts hold the same names."""
    import torch

    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def moved(parameters: Mapping[str, Tensor], device: Device) -> Parameters:
    """The parameters on a device."""
    return {name: tensor.to(device) for name, tensor in parameters.items()}


def repeat(one: Mapping[str, Tensor], n_blocks: int) -> Parameters:
    """`n_blocks` copies of the parameters of a single block, which have no block axis."""
    return {name: tensor.expand(n_blocks, *tensor.shape).clone() for name, tensor in one.items()}


def where(condition: Tensor, new: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> Parameters:
    """`new` for the blocks where `condition` `(B,)` holds, `old` for the others."""
    return {
        name: new[name].where(condition.view(-1, *[1] * (tensor.ndim - 1)), tensor)
        for name, tensor in old.items()
    }


@dataclass(frozen=True)
class BlockModel(ABC):
    """From coordinates to features. Subclass this and name the class in a YAML file to add one.

    `encoding` and `activation` are those of the run; blocks may get copies of another `width`.
    """

    encoding: Annotated[Encoding, COMPONENT]
    activation: Annotated[Activation, COMPONENT]
    width: Annotated[int, whole(1, WIDEST)]

    def encode(self, coordinates: Tensor) -> Tensor:
        """Inputs `(E, P)` at coordinates `(D, P)`, which all blocks share."""
        return self.encoding(coordinates)

    @abstractmethod
    def shapes(self, n_inputs: int) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter of one block that has E inputs; weights are `(in, out)`."""

    @abstractmethod
    def draw(self, n_inputs: int, generator: Generator) -> Parameters:
        """Starting parameters of one block, without a block axis."""

    @abstractmethod
    def features(self, parameters: Mapping[str, Tensor], encoded: Tensor) -> Tensor:
        """Features `(B, H, P)`, H being `width`, of parameters `(B, ...)` at inputs `(E, P)`."""

    def features_at(self, parameters: Mapping[str, Tensor], encoded: Tensor) -> Tensor:
        """The same at inputs `(B, E, P)`, each block's own; here one block after another."""
        import torch

        blocks = torch.arange(len(encoded), device=encoded.device).split(1)
        pairs = zip(blocks, encoded, strict=True)
        return torch.cat([self.features(select(parameters, one), own) for one, own in pairs])


@dataclass(frozen=True)
class BlockMLP(BlockModel):
    """`depth` hidden layers of `width` features: the network that the compiled steps know.

    One block's parameters: `hidden.k.weight` `(in, out)`, `hidden.k.bias` `(out,)`, and
    `hidden.k.<name>` `()` for every trained number of the activation.
    """

    depth: Annotated[int, whole(1, 16)]

    def shapes(self, n_inputs: int) -> dict[str, tuple[int, ...]]:
        """Layer by layer."""
        shapes, trained = dict[str, tuple[int, ...]](), self.activation.initial()
        if taken := {"weight", "bias"} & trained.keys():
            rule = "a layer has a tensor of this name; give that trained field another"
            raise ConfigError(f"activation={self.activation}: {taken.pop()}: {rule}")
        for layer in range(self.depth):
            shapes[f"hidden.{layer}.weight"] = (n_inputs, self.width)
            shapes[f"hidden.{layer}.bias"] = (self.width,)
            shapes |= {f"hidden.{layer}.{name}": () for name in trained}
            n_inputs = self.width
        return shapes

    def draw(self, n_inputs: int, generator: Generator) -> Parameters:
        """Uniform within the activation's bounds."""
        import torch

        shapes, drawn = self.shapes(n_inputs), {}
        for layer in range(self.depth):
            names = [f"hidden.{layer}.weight", f"hidden.{layer}.bias"]
            bounds = self.activation.bounds(layer, fan_in=shapes[names[0]][0])
            for name, bound in zip(names, bounds, strict=True):
                drawn[name] = bound * (2 * torch.rand(shapes[name], generator=generator) - 1)
            for name, value in self.activation.initial().items():
                drawn[f"hidden.{layer}.{name}"] = torch.tensor(float(value))
        return drawn

    def features(self, parameters: Mapping[str, Tensor], encoded: Tensor) -> Tensor:
        """Those of the last hidden layer, of all blocks at once."""
        features, names = encoded, self.activation.initial()
        for layer in range(self.depth):
            trained = {k: parameters[f"hidden.{layer}.{k}"].view(-1, 1, 1) for k in names}
            scale = self.activation.scale(trained)
            weight = (parameters[f"hidden.{layer}.weight"] * scale).transpose(1, 2)
            bias = parameters[f"hidden.{layer}.bias"].unsqueeze(-1) * scale
            if features.ndim == 2:  # all blocks see the same inputs: one dense product
                dense = bias.flatten(0, 1).addmm(weight.flatten(0, 1), features)
                u = dense.view(-1, self.width, encoded.shape[1])
            else:
                u = bias.baddbmm(weight, features)
            features = self.activation(u, trained)
        return features

    features_at = features


@dataclass(frozen=True)
class BlockNetwork:
    """The network that every block of a level has, each with its own parameters."""

    model: BlockModel
    head: Head
    n_channels: int
    n_axes: int = 2

    @property
    def n_inputs(self) -> int:
        """Encoded coordinates of a point."""
        import torch

        return len(self.model.encode(torch.zeros(self.n_axes, 1)))

    def hidden_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter of one block that comes before the output layer."""
        return self.model.shapes(self.n_inputs)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter of one block."""
        return self.hidden_shapes() | self.head.shapes(self.model.width, self.n_channels)

    @property
    def n_parameters(self) -> int:
        """Numbers of one block."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def outputs(self, parameters: Mapping[str, Tensor], encoded: Tensor) -> Tensor:
        """Values `(B, C, P)` at encoded coordinates `(E, P)`, or each block's own `(B, E, P)`."""
        features = self.model.features if encoded.ndim == 2 else self.model.features_at
        return self.head.outputs(features(parameters, encoded), parameters)
