"""All that rendering needs besides the parameters themselves."""

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
from miner.representation.components import build, checked, describe
from miner.representation.storage import Storage
from miner.signals.grid import PatchGrid

WIDEST = 1024
"""Features of a network's hidden layers, at most."""

_DEEPEST, _MOST_LEVELS, _MOST_CHANNELS, _LARGEST_PATCH = 16, 32, 2**12, 512


_LONGEST, _MOST_PIXELS, _MOST_VALUES = 2**31, 2**40, 2**24


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
        sides, values = self.sides, self.patch_size ** len(self.sides) * self.n_channels
        if not 2 <= len(sides) <= 3 or not all(1 <= side <= _LONGEST for side in sides):
            raise ValueError(f"sides={sides!s:.80}: must be 2 or 3 numbers from 1 to {_LONGEST}")
        if math.prod(sides) > _MOST_PIXELS:
            raise ValueError(f"sides={sides}: must be {_MOST_PIXELS} pixels at most; crop it")
        _check("patch_size", self.patch_size, _LARGEST_PATCH)
        _check("n_channels", self.n_channels, _MOST_CHANNELS)
        if values > _MOST_VALUES:
            raise ValueError(
                f"patch_size={self.patch_size}: patches of {values} values; the most is "
                f"{_MOST_VALUES}, so use a smaller one"
            )
        _check("levels", len(self.models), _MOST_LEVELS)
        for model in self.models:
            _check("width", model.mlp.width, WIDEST)
            _check("depth", model.mlp.depth, _DEEPEST)

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
        return {
            "sides": list(self.sides),
            "n_channels": self.n_channels,
            "patch_size": self.patch_size,
            "pyramid": describe(self.pyramid),
            "storage": describe(self.storage),
            "pixel_format": asdict(self.pixel_format),
            "models": [_model_to_json(model) for model in self.models],
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Spec":
        """Read what `to_json` wrote.

        Raises:
            ValueError: a field is missing or wrong; the message names it.
        """
        try:
            pixel_format = checked(PixelFormat, data["pixel_format"])
            if pixel_format.channels != data["n_channels"]:
                raise ValueError("n_channels: the pixel format has another number of channels")
            _check("levels", len(data["models"]), _MOST_LEVELS)
            return Spec(
                sides=tuple(_whole(side, "sides") for side in data["sides"]),
                n_channels=_whole(data["n_channels"], "n_channels"),
                patch_size=_whole(data["patch_size"], "patch_size"),
                pyramid=build(Pyramid, data["pyramid"]),  # type: ignore[type-abstract]
                storage=build(Storage, data["storage"]),  # type: ignore[type-abstract]
                pixel_format=pixel_format,
                models=tuple(_model_from_json(m, data) for m in data["models"]),
            )
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"malformed spec ({type(error).__name__}: {error})") from error


def _model_to_json(model: BlockNetwork) -> dict[str, Any]:
    return {
        "width": model.mlp.width,
        "depth": model.mlp.depth,
        "encoding": describe(model.mlp.encoding),
        "activation": describe(model.mlp.activation),
        "head": describe(model.head),
    }


def _model_from_json(data: dict[str, Any], spec: dict[str, Any]) -> BlockNetwork:
    mlp = BlockMLP(
        encoding=build(Encoding, data["encoding"]),  # type: ignore[type-abstract]
        activation=build(Activation, data["activation"]),  # type: ignore[type-abstract]
        width=_whole(data["width"], "width"),
        depth=_whole(data["depth"], "depth"),
        n_axes=len(spec["sides"]),
    )
    head = build(Head, data["head"])  # type: ignore[type-abstract]
    return BlockNetwork(mlp, head, n_channels=spec["n_channels"])


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name}={value!r:.40}: must be a whole number")
    return value


def _check(name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise ValueError(f"{name}={value!s:.40}: must be a whole number from 1 to {most}")
