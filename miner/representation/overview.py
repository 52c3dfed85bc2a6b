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
from miner.representation.output import write_image
from miner.representation.rendering import ShardIndex
from miner.representation.spec import Manifest, Spec
from miner.signals.regions import Region, overlap, sides_of, slices
from miner.signals.scratch import Scratch
from miner.signals.signal import ReadRegion, Signal, SourceSignal
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
        values[:, *slices(common, part)] = rendered[:, *slices(common, box)]
        return values

    own = tuple((low >> LEVEL, -(-high >> LEVEL)) for low, high in tile)
    return own, level_image(spec, LEVEL, shards, {0: read}, rendered.device).read(own)


def write_overview(folder: Path, spec: Spec, image: Signal) -> str:
    """Write the level in 8 bits if the source has these, else in 16; gives the file's checksum.

    The slices of a volume are below each other.
    """
    *depth, height, width = image.sides

    def read(region: Region) -> Tensor:
        (low, high), columns = region
        first, end = low // height, -(-high // height)
        rows = image.read(((first, end), (0, height), columns)).flatten(1, 2)
        return rows[:, low - first * height : high - first * height]

    plane = SourceSignal(read, spec.n_channels, (sum(depth) * height, width), image.device)
    is_8_bit = spec.pixel_format.dtype == "uint8"
    format = PixelFormat.of_values("uint8" if is_8_bit else "uint16", spec.n_channels)
    return file_digest(write_image(folder / OVERVIEW, plane if depth else image, format))


def read_overview(folder: Path, manifest: Manifest) -> dict[int, ReadRegion]:
    """Reads the level, if a folder has it; `RepresentationError` unless it is the manifest's."""
    path, spec = folder / OVERVIEW, manifest.spec
    if not (manifest.overview and can_have_overview(spec) and os.path.lexists(path)):
        return {}
    if not path.is_file() or file_digest(path) != manifest.overview:
        remedy = "remove it, and coarse levels are rendered without it, in more time"
        raise RepresentationError(f"{path}: not the overview that the manifest names; {remedy}")
    sides = spec.level_sides[LEVEL]

    def read(region: Region) -> Tensor:
        *depth, rows, columns = region
        lines = [(first * sides[-2], end * sides[-2]) for first, end in depth] or [rows]
        with errors_about(repr(str(path))):
            opened = open_tiff(path)
            stored = opened.load((*lines, columns), Scratch(None))((slice(None), slice(None)))
        format = PixelFormat.of_values(opened.dtype, opened.n_channels)
        found = torch.from_numpy(format.to_unit(np.moveaxis(stored, -1, 0)))
        return found.unflatten(1, (-1, sides[-2]))[:, :, slice(*rows)] if depth else found

    return {LEVEL: read}
