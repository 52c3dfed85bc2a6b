"""Where a block's numbers lie in a row of the Triton steps, and the program's fixed sizes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from miner.kernels.ops import Network, UnsupportedError
from miner.models.heads import BIAS, FREQUENCY, WEIGHT
from miner.models.network import BlockNetwork
from miner.models.parameters import Parameters

_LEAST, _MOST = 16, 64  # sides of a product on tensor cores; more would not fit the registers


_DEEPEST = 4  # layers, for the same reason


PART = 256  # numbers of a row that are moved at once


@dataclass(frozen=True)
class Layout:
    """A row: weights of the layers, their biases, the activation's numbers, then the readout.

    `inputs`, `width` and `channels` are padded sides; parts begin at multiples of `PART` where one
    is trained and the next is not.
    """

    model: BlockNetwork
    inputs: int
    width: int
    channels: int

    @staticmethod
    def of(model: BlockNetwork) -> "Layout":
        """The layout of a level's blocks.

        Raises:
            UnsupportedError: a side is too large for the program.
        """
        mlp = model.mlp
        sides = {
            "the encoding's outputs": mlp.encoding.n_outputs(mlp.n_axes),
            "model.width": mlp.width,
            "the image's channels": model.n_channels,
        }
        for name, side in sides.items():
            if side > _MOST:
                raise UnsupportedError(f"{name}={side}: more than {_MOST} do not fit a program")
        if mlp.depth > _DEEPEST:
            raise UnsupportedError(f"model.depth={mlp.depth}: more than {_DEEPEST} do not fit")
        inputs, width, channels = (_padded(side) for side in sides.values())
        return Layout(model, inputs, width, channels)

    @property
    def at_biases(self) -> int:
        """Where the biases begin."""
        return (self.inputs + (self.model.mlp.depth - 1) * self.width) * self.width

    @property
    def at_numbers(self) -> int:
        """Where the activation's trained numbers begin."""
        return self.at_biases + self.model.mlp.depth * self.width

    @property
    def n_numbers(self) -> int:
        """The activation's trained numbers in a layer."""
        return len(self.model.mlp.activation.initial())

    @property
    def at_readout(self) -> int:
        """Where the readout begins."""
        return _rounded(self.at_numbers + self.model.mlp.depth * self.n_numbers)

    @property
    def length(self) -> int:
        """Numbers of a row."""
        return _rounded(self.at_readout + self.width * self.channels + self.channels + 1)

    def constants(self, network: Network) -> dict[str, int]:
        """What the programs are compiled for, besides their own settings."""
        return {
            "ACTIVATION": network.activation,
            "NUMBERS": self.n_numbers,
            "DEPTH": network.depth,
            "HEAD": network.head,
            "EP": self.inputs,
            "HP": self.width,
            "CP": self.channels,
            "AT_BIASES": self.at_biases,
            "AT_NUMBERS": self.at_numbers,
            "AT_READOUT": self.at_readout,
            "LENGTH": self.length,
        }

    def rows(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Parameters `(B, ...)` as rows `(B, length)`; a readout may be missing."""
        some = parameters["hidden.0.bias"]
        rows = some.new_zeros(len(some), self.length)
        for name, (start, padded) in self._places().items():
            if name in parameters:
                given = parameters[name]
                missing = [p - s for p, s in zip(padded, given.shape[1:], strict=True)]
                flat = F.pad(given, [n for m in reversed(missing) for n in (0, m)])
                size = torch.Size(padded).numel()
                rows[:, start : start + size] = flat.reshape(len(given), size)
        return rows

    def parameters(self, rows: Tensor) -> Parameters:
        """Parameters `(B, ...)`, readout included, of rows."""
        shapes, found = self.model.shapes(), {}
        for name, (start, padded) in self._places().items():
            part = rows[:, start : start + torch.Size(padded).numel()].reshape(-1, *padded)
            found[name] = part[(slice(None), *map(slice, shapes[name]))]
        return {name: found[name] for name in shapes if name in found}

    def _places(self) -> dict[str, tuple[int, tuple[int, ...]]]:
        """Where each parameter begins and the sides it is padded to; an amplitude is elsewhere."""
        places: dict[str, tuple[int, tuple[int, ...]]] = {}
        start, n_inputs = 0, self.inputs
        for layer in range(self.model.mlp.depth):
            places[f"hidden.{layer}.weight"] = start, (n_inputs, self.width)
            places[f"hidden.{layer}.bias"] = self.at_biases + layer * self.width, (self.width,)
            for n, name in enumerate(self.model.mlp.activation.initial()):
                places[f"hidden.{layer}.{name}"] = self.at_numbers + layer * self.n_numbers + n, ()
            start, n_inputs = start + n_inputs * self.width, self.width
        size = self.width * self.channels
        places[WEIGHT] = self.at_readout, (self.width, self.channels)
        places[BIAS] = self.at_readout + size, (self.channels,)
        if FREQUENCY in self.model.shapes():
            places[FREQUENCY] = self.at_readout + size + self.channels, ()
        return places


def _padded(side: int) -> int:
    return max(_LEAST, 1 << (side - 1).bit_length())


def _rounded(n: int) -> int:
    return -(-n // PART) * PART
