"""What a representation is made of, and the manifest, which also lists its shards."""

import json
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from miner.images.pixel_format import PixelFormat
from miner.models.heads import Head
from miner.models.network import BlockModel, BlockNetwork
from miner.pyramids.pyramid import Pyramid
from miner.representation.storage import Storage
from miner.signals.grid import PatchGrid
from miner.signals.mask import Mask, Valid
from miner.signals.regions import Region
from miner.support.components import COMPONENT, Apart, parse, plain, shorten
from miner.support.errors import RepresentationError
from miner.support.files import atomic_write, json_sha256, read_regular_file
from miner.support.ranges import Count, rule, whole

MANIFEST, MASK, OVERVIEW = "manifest.json", "mask.npz", "overview.tif"
_MAX_PIXELS, _MAX_PATCH_VALUES = 2**40, 2**24
_Side = Annotated[int, whole(1, 2**31)]
_FORMAT, _VERSION = "miner-representation", 5
_MAX_BYTES = 2**28  # some two million shards


@dataclass(frozen=True)
class LevelNetwork:
    """The network that every block of a level has; blocks may have another width."""

    model: Annotated[BlockModel, COMPONENT]
    head: Annotated[Head, COMPONENT]


@dataclass(frozen=True)
class Spec:
    """Geometry and networks of a representation.

    `sides` are those of level 0; `models` run coarse to fine; `mask` says which pixels are data,
    None if all are, and is stored in a file of its own. Raises `ValueError` for too many pixels, as
    rendering allocates memory for what a manifest claims.
    """

    sides: Annotated[tuple[_Side, ...], rule("be of 2 or 3 axes", min_length=2, max_length=3)]
    n_channels: Count
    patch_size: Annotated[int, whole(1, 512)]
    pyramid: Annotated[Pyramid, COMPONENT]
    storage: Annotated[Storage, COMPONENT]
    models: Annotated[tuple[LevelNetwork, ...], rule("be levels", min_length=1, max_length=32)]
    pixel_format: PixelFormat
    evaluates_coarser: bool = False  # pixels without a block of their level are a coarser one's
    mask: Apart[Mask] = None

    def __post_init__(self) -> None:
        n_values = self.patch_size ** len(self.sides) * self.n_channels
        if math.prod(self.sides) > _MAX_PIXELS:
            raise ValueError(f"sides={self.sides}: must be {_MAX_PIXELS} pixels at most; crop it")
        if n_values > _MAX_PATCH_VALUES:
            most = f"the most is {_MAX_PATCH_VALUES}, so use a smaller one"
            raise ValueError(f"patch_size={self.patch_size}: patches of {n_values} values; {most}")
        if self.pixel_format.channels != self.n_channels:
            raise ValueError("n_channels: the pixel format has another number of channels")

    @property
    def n_levels(self) -> int:
        """Levels J; level J - 1 is the coarsest."""
        return len(self.models)

    @cached_property
    def level_sides(self) -> tuple[tuple[int, ...], ...]:
        """Sides of every level, indexed by level (fine to coarse)."""
        levels = range(self.n_levels)
        return tuple(self.pyramid.level_shape(j, self.sides, self.n_channels)[1:] for j in levels)

    @cached_property
    def masks(self) -> tuple[Mask | None, ...]:
        """The mask of each level: a pixel is data if any of level 0 is that it stands for."""
        masks = [self.mask]
        while len(masks) < self.n_levels:
            masks.append(masks[-1] and masks[-1].reduced(2))
        return tuple(masks)

    def valid(self, region: Region, level: int = 0) -> Valid | None:
        """Which pixels of a region are data, `(*S)`; None if all of the level are."""
        mask = self.masks[level]
        return None if mask is None else mask.valid(region)

    def grid(self, level: int) -> PatchGrid:
        """The patches of a level."""
        return PatchGrid(self.level_sides[level], self.patch_size)

    def model(self, level: int, width: int | None = None) -> BlockNetwork:
        """The network of a level's blocks, or one like it with another number of features."""
        own = self.models[self.n_levels - 1 - level]
        model = own.model if width is None else replace(own.model, width=width)
        n_channels, n_axes = self.n_channels * self.pyramid.bands(len(self.sides)), len(self.sides)
        return BlockNetwork(model, own.head, n_channels, n_axes)

    def is_coarsest(self, level: int) -> bool:
        """Whether there is no coarser level to predict from."""
        return level == self.n_levels - 1


@dataclass(frozen=True)
class Manifest:
    """A spec, for each finished level its shards' files with their checksums, and the fit.

    `fit` is what the fit depended on, in plain data; rendering does not need it. `mask` is the
    checksum of the spec's mask in a manifest that was read, and `overview` a file's, or empty.
    """

    spec: Spec
    levels: dict[int, dict[str, str]]
    fit: dict[str, Any] = field(default_factory=dict)
    mask: str = ""
    overview: str = ""

    @property
    def files(self) -> set[str]:
        """Names of the files beside it that it lists."""
        apart = {MASK: self.mask or self.spec.mask, OVERVIEW: self.overview}
        return set[str]().union(*self.levels.values(), filter(apart.get, apart))

    def write(self, folder: Path) -> None:
        """Write it whole or not at all; raises `OSError` if the folder takes no file."""
        content = {"format": _FORMAT, "version": _VERSION, **plain(self)}
        if mask := self.spec.mask:
            content["mask"] = mask.sha256
        content["sha256"] = json_sha256(content)
        with atomic_write(folder / MANIFEST) as scratch:
            scratch.write_text(json.dumps(content, indent=1))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """That of a folder; raises `RepresentationError` if it cannot be used."""
        path = folder / MANIFEST
        try:
            text = read_regular_file(path, _MAX_BYTES)
            content = json.loads(text)
            if not isinstance(content, dict) or content.get("format") != _FORMAT:
                raise ValueError("it is not that of a MINER representation; name another folder")
            if (version := content.get("version")) != _VERSION:
                message = f"format version {shorten(version)}, this program reads {_VERSION}"
                if isinstance(version, int) and version < _VERSION:
                    message += "; an earlier version of the program wrote it, so fit again"
                raise ValueError(message)
            if content.pop("sha256", None) != json_sha256(content):
                raise ValueError("the manifest was changed after it was written")
            manifest = parse(cls, text, MANIFEST)
            if unknown := manifest.levels.keys() - range(manifest.spec.n_levels):
                raise ValueError(f"level {min(unknown)} is not one of {manifest.spec.n_levels}")
        except (FileNotFoundError, NotADirectoryError) as error:
            reason = "no representation of blocks here; give the folder of a run of method=miner"
            raise RepresentationError(f"{path}: {reason}") from error
        except (OSError, ValueError, RecursionError) as error:
            raise RepresentationError(f"{path}: unreadable manifest: {error}") from error
        return manifest
