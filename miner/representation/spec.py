"""What a representation is made of, and the manifest, which also lists its shards."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from miner.images.pixel_format import PixelFormat
from miner.models.activations import Activation
from miner.models.encodings import Encoding
from miner.models.heads import Head
from miner.models.network import BlockMLP, BlockNetwork
from miner.pyramids.pyramid import Pyramid, half
from miner.representation.components import build, describe, from_fields, parse, shorten
from miner.representation.storage import Storage
from miner.signals.grid import PatchGrid
from miner.support.errors import RepresentationError
from miner.support.files import atomic_write, json_sha256, read_regular_file

WIDEST = 1024  # features of a hidden layer, at most
MANIFEST = "manifest.json"
_MAX_DEPTH, _MAX_LEVELS, _MAX_CHANNELS, _MAX_PATCH_SIZE = 16, 32, 2**12, 512
_MAX_SIDE, _MAX_PIXELS, _MAX_PATCH_VALUES = 2**31, 2**40, 2**24
_FORMAT, _VERSION = "miner-representation", 4
_MAX_BYTES = 2**28  # some two million shards


@dataclass(frozen=True)
class Spec:
    """Geometry and networks of a representation.

    `sides` are those of level 0; `models` run coarse to fine. Raises `ValueError` if a size is out
    of bounds, as rendering allocates memory for what a manifest claims.
    """

    sides: tuple[int, ...]
    n_channels: int
    patch_size: int
    pyramid: Pyramid
    storage: Storage
    models: tuple[BlockNetwork, ...]
    pixel_format: PixelFormat

    def __post_init__(self) -> None:
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


@dataclass(frozen=True)
class Manifest:
    """A spec, for each finished level its shards' files with their checksums, and the fit.

    `fit` is what the fit depended on, in plain data; rendering does not need it.
    """

    spec: Spec
    levels: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _NetworkData:
    width: int
    depth: int
    encoding: dict[str, Any]
    activation: dict[str, Any]
    head: dict[str, Any]


@dataclass(frozen=True)
class _SpecData:
    sides: tuple[int, ...]
    n_channels: int
    patch_size: int
    pyramid: dict[str, Any]
    storage: dict[str, Any]
    pixel_format: dict[str, Any]
    models: tuple[_NetworkData, ...]


@dataclass(frozen=True)
class _Content:
    """What the file holds besides its format, version and checksum."""

    spec: _SpecData
    fit: dict[str, Any]
    levels: dict[int, dict[str, str]]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest whole or not at all; raises `OSError` if the folder takes no file."""
    levels = sorted(manifest.levels.items())
    content: dict[str, Any] = {
        "format": _FORMAT,
        "version": _VERSION,
        "spec": asdict(_plain(manifest.spec)),
        "fit": dict(manifest.fit),
        "levels": {str(level): dict(checksums) for level, checksums in levels},
    }
    content["sha256"] = json_sha256(content)
    with atomic_write(folder / MANIFEST) as scratch:
        scratch.write_text(json.dumps(content, indent=1))


def read_manifest(folder: Path) -> Manifest:
    """Read a folder's manifest; raises `RepresentationError` if it cannot be used."""
    path = folder / MANIFEST
    try:
        text = read_regular_file(path, _MAX_BYTES)
        content = json.loads(text)
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ValueError("it is not that of a MINER representation")
        if (version := content.get("version")) != _VERSION:
            message = f"format version {shorten(version)}, this program reads {_VERSION}"
            if isinstance(version, int) and version < _VERSION:
                message += "; an earlier version of the program wrote it, so fit again"
            raise ValueError(message)
        if content.pop("sha256", None) != json_sha256(content):
            raise ValueError("the manifest was changed after it was written")
        data = parse(_Content, text, MANIFEST)
        spec = _built(data.spec)
        for level in data.levels:
            if not 0 <= level < spec.n_levels:
                raise ValueError(f"level {level} is not one of {spec.n_levels}")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RepresentationError(f"{path}: no representation here; give its folder") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RepresentationError(f"{path}: unreadable manifest: {error}") from error
    return Manifest(spec, data.levels, data.fit)


def _plain(spec: Spec) -> _SpecData:
    models = []
    for model in spec.models:
        mlp = model.mlp
        described = describe(mlp.encoding), describe(mlp.activation), describe(model.head)
        models.append(_NetworkData(mlp.width, mlp.depth, *described))
    components = describe(spec.pyramid), describe(spec.storage), asdict(spec.pixel_format)
    return _SpecData(spec.sides, spec.n_channels, spec.patch_size, *components, tuple(models))


def _built(data: _SpecData) -> Spec:
    pixel_format = from_fields(PixelFormat, data.pixel_format)
    if pixel_format.channels != data.n_channels:
        raise ValueError("n_channels: the pixel format has another number of channels")
    _check("levels", len(data.models), _MAX_LEVELS)
    models = []
    for model in data.models:
        layers = build(Encoding, model.encoding), build(Activation, model.activation)
        mlp = BlockMLP(*layers, model.width, model.depth, len(data.sides))
        models.append(BlockNetwork(mlp, build(Head, model.head), data.n_channels))
    sizes = data.sides, data.n_channels, data.patch_size
    components = build(Pyramid, data.pyramid), build(Storage, data.storage)
    return Spec(*sizes, *components, tuple(models), pixel_format)


def _check(name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise ValueError(f"{name}={value!s:.40}: must be a whole number from 1 to {most}")
