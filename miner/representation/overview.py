"""A coarse level of a large image as a picture beside the shards, read in place of networks."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from miner.images.pixel_format import PixelFormat, errors_about
from miner.images.source import file_digest
from miner.images.tiff import open_tiff
from miner.representation.coarse import level_image
from miner.representation.rendering import ShardIndex
from miner.representation.spec import Manifest, Spec
from miner.signals.regions import Region, overlap, sides_of, slices
from miner.signals.scratch import Scratch
from miner.signals.signal import Signal, SourceSignal
from miner.support.errors import RepresentationError

OVERVIEW = "overview.tif"
LEVEL = 2  # a sixteenth of an image's pixels


def can_have_overview(spec: Spec) -> bool:
    """Whether coarse levels need finer networks, and tiles are of whole pixels of `LEVEL`."""
    return spec.evaluates_coarser and spec.n_levels > LEVEL and not spec.patch_size % 2**LEVEL


def overview_of_tile(
    spec: Spec, shards: Sequence[ShardIndex], tile: Region, box: Region, rendered: Tensor
) -> tuple[Region, Tensor]:
    """Where a tile of the finest level is in the overview, and its values there, unclipped.

    A box, of 3 `reduce_reach` around the tile, is `rendered` `(C, *S)`.
    """

    def read(part: Region) -> Tensor:  # zero beyond the box, in pixels that do not count
        values, common = rendered.new_zeros(len(rendered), *sides_of(part)), overlap(part, box)
        inside = rendered[(slice(None), *slices(common, box))]
        values[(slice(None), *slices(common, part))] = inside
        return values

    finest = SourceSignal(read, spec.n_channels, spec.sides, rendered.device)
    own = tuple((low >> LEVEL, -(-high >> LEVEL)) for low, high in tile)
    return own, level_image(spec, LEVEL, shards, {0: finest}, rendered.device).read(own)


def overview_format(spec: Spec) -> PixelFormat:
    """How pixels are stored: in 8 bits if the source's are, else in 16."""
    is_8_bit = spec.pixel_format.dtype == "uint8"
    return PixelFormat.of_values("uint8" if is_8_bit else "uint16", spec.n_channels)


def as_plane(image: Signal) -> Signal:
    """An image, or the slices of a volume below each other."""
    *depth, height, width = image.sides

    def read(region: Region) -> Tensor:
        (low, high), columns = region
        first, end = low // height, -(-high // height)
        rows = image.read(((first, end), (0, height), columns)).flatten(1, 2)
        return rows[:, low - first * height : high - first * height]

    rows = sum(depth) * height
    return SourceSignal(read, image.n_channels, (rows, width), image.device) if depth else image


def read_overview(folder: Path, manifest: Manifest) -> dict[int, Signal]:
    """The level in a folder, if there is one; `RepresentationError` unless it is the manifest's."""
    path, spec = folder / OVERVIEW, manifest.spec
    if not (manifest.overview and can_have_overview(spec) and os.path.lexists(path)):
        return {}
    if not path.is_file() or file_digest(path) != manifest.overview:
        remedy = "remove it, and coarse levels are rendered without it, in more time"
        raise RepresentationError(f"{path}: not the overview that the manifest names; {remedy}")
    sides, format = spec.level_sides[LEVEL], overview_format(spec)

    def read(region: Region) -> Tensor:
        *depth, rows, columns = region
        lines = [(first * sides[-2], end * sides[-2]) for first, end in depth] or [rows]
        with errors_about(repr(str(path))):
            stored = open_tiff(path).load((*lines, columns), Scratch(None))
            values = format.to_unit(np.moveaxis(stored((slice(None), slice(None))), -1, 0))
        found = torch.from_numpy(values)
        return found.unflatten(1, (-1, sides[-2]))[:, :, slice(*rows)] if depth else found

    return {LEVEL: SourceSignal(read, spec.n_channels, sides)}
