"""The small network of a block, hidden layers and output head, and parameters of many blocks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.models.activations import Activation
from miner.models.encodings import Encoding
from miner.models.heads import Head
from miner.support.tensors import Parameters as Parameters


def select(parameters: Mapping[str, Tensor], index: Tensor) -> Parameters:
    """The parameters of some blocks, in the order of `index` (numbers or a mask)."""
    return {name: tensor[index] for name, tensor in parameters.items()}


def concatenate(parts: Sequence[Mapping[str, Tensor]]) -> Parameters:
    """Blocks of several parts one after another; all parts hold the same names."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def moved(parameters: Mapping[str, Tensor], device: torch.device) -> Parameters:
    """The parameters on a device."""
    return {name: tensor.to(device) for name, tensor in parameters.items()}


def repeat(one: Mapping[str, Tensor], n_blocks: int) -> Parameters:
    """`n_blocks` copies of the parameters of a single block, which have no block axis."""
    return {name: tensor.expand(n_blocks, *tensor.shape).clone() for name, tensor in one.items()}


def where(condition: Tensor, new: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> Parameters:
    """`new` for the blocks where `condition` `(B,)` holds, `old` for the others."""
    return {
        name: torch.where(condition.view(-1, *[1] * (tensor.ndim - 1)), new[name], tensor)
        for name, tensor in old.items()
    }


@dataclass(frozen=True)
class BlockMLP:
    """`depth` hidden layers of `width` features over encoded coordinates of `n_axes` axes.

    One block's parameters: `hidden.k.weight` `(in, out)`, `hidden.k.bias` `(out,)`, and
    `hidden.k.<name>` `()` for every trained number of the activation.
    """

    encoding: Encoding
    activation: Activation
    width: int
    depth: int
    n_axes: int = 2

    @property
    def n_inputs(self) -> int:
        """Encoded coordinates of a point."""
        return len(self.encoding(torch.zeros(self.n_axes, 1)))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every hidden parameter of one block."""
        shapes, n_inputs = dict[str, tuple[int, ...]](), self.n_inputs
        for layer in range(self.depth):
            shapes[f"hidden.{layer}.weight"] = (n_inputs, self.width)
            shapes[f"hidden.{layer}.bias"] = (self.width,)
            shapes |= {f"hidden.{layer}.{name}": () for name in self.activation.initial()}
            n_inputs = self.width
        return shapes

    def draw(self, generator: torch.Generator) -> Parameters:
        """Starting hidden parameters of one block, without a block axis."""
        shapes, drawn = self.shapes(), {}
        for layer in range(self.depth):
            names = [f"hidden.{layer}.weight", f"hidden.{layer}.bias"]
            bounds = self.activation.bounds(layer, fan_in=shapes[names[0]][0])
            for name, bound in zip(names, bounds, strict=True):
                drawn[name] = bound * (2 * torch.rand(shapes[name], generator=generator) - 1)
            for name, value in self.activation.initial().items():
                drawn[f"hidden.{layer}.{name}"] = torch.tensor(value)
        return drawn

    def features(self, parameters: Mapping[str, Tensor], encoded: Tensor) -> Tensor:
        """Last hidden features `(B, H, P)` at encoded coordinates `(E, P)`."""
        features = encoded
        for layer in range(self.depth):
            trained = {
                name: parameters[f"hidden.{layer}.{name}"].view(-1, 1, 1)
                for name in self.activation.initial()
            }
            scale = self.activation.scale(trained)
            weight = (parameters[f"hidden.{layer}.weight"] * scale).transpose(1, 2)
            bias = parameters[f"hidden.{layer}.bias"].unsqueeze(-1) * scale
            if layer == 0:  # all blocks see the same inputs: one dense product
                dense = torch.addmm(bias.flatten(0, 1), weight.flatten(0, 1), features)
                u = dense.view(-1, self.width, encoded.shape[1])
            else:
                u = torch.baddbmm(bias, weight, features)
            features = self.activation(u, trained)
        return features


@dataclass(frozen=True)
class BlockNetwork:
    """The network that every block of a level has, each with its own parameters."""

    mlp: BlockMLP
    head: Head
    n_channels: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter of one block."""
        return self.mlp.shapes() | self.head.shapes(self.mlp.width, self.n_channels)

    @property
    def n_parameters(self) -> int:
        """Numbers of one block."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def outputs(self, parameters: Mapping[str, Tensor], encoded: Tensor) -> Tensor:
        """Values `(B, C, P)` at encoded coordinates `(E, P)`."""
        return self.head.outputs(self.mlp.features(parameters, encoded), parameters)
