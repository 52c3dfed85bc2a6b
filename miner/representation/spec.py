"""All that rendering needs besides the parameters themselves."""

import json
import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from miner.images.pixel_format import PixelFormat
from miner.models.activations import Activation
from miner.models.encodings import Encoding
from miner.models.heads import Head
from miner.models.network import BlockMLP, BlockNetwork
from miner.pyramids.pyramid import Pyramid
from miner.pyramids.resample import half
from miner.representation.components import build, describe, from_fields, parse
from miner.representation.storage import Storage
from miner.signals.grid import PatchGrid

WIDEST = 1024  # features of a hidden layer, at most
_MAX_DEPTH, _MAX_LEVELS, _MAX_CHANNELS, _MAX_PATCH_SIZE = 16, 32, 2**12, 512
_MAX_SIDE, _MAX_PIXELS, _MAX_PATCH_VALUES = 2**31, 2**40, 2**24


@dataclass(frozen=True)
class _NetworkData:
    width: int
    depth: int
    encoding: dict[str, Any]
    activation: dict[str, Any]
    head: dict[str, Any]


@dataclass(frozen=True)
class _SpecData:
    """A spec in plain data: the fields of a manifest, with components as `describe` gives them."""

    sides: tuple[int, ...]
    n_channels: int
    patch_size: int
    pyramid: dict[str, Any]
    storage: dict[str, Any]
    pixel_format: dict[str, Any]
    models: tuple[_NetworkData, ...]


@dataclass(frozen=True)
class Spec:
    """Geometry and networks of a representation.

    `sides` are those of level 0; `models` run coarse to fine, as everything in a manifest does.
    Raises `ValueError` if a size is out of bounds: what a manifest says is allocated by renderers.
    """

    sides: tuple[int, ...]
    n_channels: int
    patch_size: int
    pyramid: Pyramid
    storage: Storage
    models: tuple[BlockNetwork, ...]
    pixel_format: PixelFormat

    def __post_init__(self) -> None:
        """Check the sizes."""
        sides, n_values = self.sides, self.patch_size ** len(self.sides) * self.n_channels
        if not 2 <= len(sides) <= 3 or not all(1 <= side <= _MAX_SIDE for side in sides):
            raise ValueError(f"sides={sides!s:.80}: must be 2 or 3 numbers from 1 to {_MAX_SIDE}")
        if math.prod(sides) > _MAX_PIXELS:
            raise ValueError(f"sides={sides}: must be {_MAX_PIXELS} pixels at most; crop it")
        _check("patch_size", self.patch_size, _MAX_PATCH_SIZE)
        _check("n_channels", self.n_channels, _MAX_CHANNELS)
        if n_values > _MAX_PATCH_VALUES:
            raise ValueError(
                f"patch_size={self.patch_size}: patches of {n_values} values; the most is "
                f"{_MAX_PATCH_VALUES}, so use a smaller one"
            )
        _check("levels", len(self.models), _MAX_LEVELS)
        for model in self.models:
            _check("width", model.mlp.width, WIDEST)
            _check("depth", model.mlp.depth, _MAX_DEPTH)

    @property
    def n_levels(self) -> int:
        """Levels J; level J - 1 is the coarsest."""
        return len(self.models)

    @cached_property
    def level_sides(self) -> tuple[tuple[int, ...], ...]:
        """Sides of every level, indexed by level (fine to coarse)."""
        sides = [self.sides]
        for _ in range(self.n_levels - 1):
            sides.append(half(sides[-1]))
        return tuple(sides)

    def grid(self, level: int) -> PatchGrid:
        """The patches of a level."""
        return PatchGrid(self.level_sides[level], self.patch_size)

    def model(self, level: int, width: int | None = None) -> BlockNetwork:
        """The network of a level's blocks, or one like it with another number of features."""
        model = self.models[self.n_levels - 1 - level]
        return model if width is None else replace(model, mlp=replace(model.mlp, width=width))

    def is_coarsest(self, level: int) -> bool:
        """Whether there is no coarser level to predict from."""
        return level == self.n_levels - 1

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads back."""
        components = describe(self.pyramid), describe(self.storage)
        networks = tuple(
            _NetworkData(
                model.mlp.width,
                model.mlp.depth,
                describe(model.mlp.encoding),
                describe(model.mlp.activation),
                describe(model.head),
            )
            for model in self.models
        )
        sizes = self.sides, self.n_channels, self.patch_size
        return asdict(_SpecData(*sizes, *components, asdict(self.pixel_format), networks))

    @staticmethod
    def from_json(data: Any) -> "Spec":
        """Read what `to_json` gave.

        Raises:
            ValueError: a field is missing or wrong; the message names it.
        """
        given = parse(_SpecData, json.dumps(data), "spec")
        pixel_format = from_fields(PixelFormat, given.pixel_format)
        if pixel_format.channels != given.n_channels:
            raise ValueError("n_channels: the pixel format has another number of channels")
        _check("levels", len(given.models), _MAX_LEVELS)
        built = {
            "pixel_format": pixel_format,
            "pyramid": build(Pyramid, given.pyramid),  # type: ignore[type-abstract]
            "storage": build(Storage, given.storage),  # type: ignore[type-abstract]
            "models": tuple(_network(model, given) for model in given.models),
        }
        return Spec(**(vars(given) | built))


def _network(data: _NetworkData, spec: _SpecData) -> BlockNetwork:
    mlp = BlockMLP(
        encoding=build(Encoding, data.encoding),  # type: ignore[type-abstract]
        activation=build(Activation, data.activation),  # type: ignore[type-abstract]
        width=data.width,
        depth=data.depth,
        n_axes=len(spec.sides),
    )
    return BlockNetwork(mlp, build(Head, data.head), spec.n_channels)  # type: ignore[type-abstract]


def _check(name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise ValueError(f"{name}={value!s:.40}: must be a whole number from 1 to {most}")
