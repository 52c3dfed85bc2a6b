"""The mask beside the shards, and the overview: a coarse level that is read, not rendered."""

import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from miner.images.encode import PixelCanvas, check_writable_format
from miner.images.pixel_format import PixelFormat, errors_about
from miner.images.source import file_digest
from miner.images.tiff import open_tiff
from miner.representation.points import ValidIn
from miner.representation.rendering import ShardIndex, level_image
from miner.representation.spec import MASK, OVERVIEW, Manifest, Spec
from miner.signals.mask import Mask, packed_shape
from miner.signals.regions import Region, overlap, sides_of, slices, tiles
from miner.signals.scratch import IN_MEMORY_BYTES, Scratch, n_bytes
from miner.signals.signal import ReadRegion, Signal, SourceSignal
from miner.support.errors import RepresentationError
from miner.support.files import atomic_write

OVERVIEW_LEVEL = 2  # a sixteenth of an image's pixels
Track = Callable[[Sequence[Region]], Iterable[Region]]
"""Goes through tiles and may show how far it is."""

_OVERHEAD_BYTES = 2**16  # of headers, and of what is not compressible
_UNREADABLE = (
    *(OSError, ValueError, LookupError, EOFError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


def write_mask(folder: Path, mask: Mask | None) -> None:
    """Write the mask, if there is one, whole or not at all."""
    if mask is not None:
        with atomic_write(folder / MASK) as scratch, scratch.open("wb") as stream:
            np.savez_compressed(stream, valid=mask.bits)


def read_mask(folder: Path, manifest: Manifest) -> Mask | None:
    """The mask that a manifest names, if any; `RepresentationError` if it is missing or damaged."""
    if not manifest.mask:
        return None
    path, shape = folder / MASK, packed_shape(manifest.spec.sides)
    size = math.prod(shape)
    try:
        if not path.is_file() or path.stat().st_size > size + size // 64 + _OVERHEAD_BYTES:
            raise ValueError(f"no plain file of about {size} bytes at most")
        with zipfile.ZipFile(path) as archive, archive.open("valid.npy") as stream:
            found = np.lib.format.read_magic(stream), np.lib.format.read_array_header_1_0(stream)
            if found != ((1, 0), (shape, False, np.dtype(np.uint8))):
                raise ValueError(f"not the bits of {manifest.spec.sides} pixels")
            content = stream.read(size + 1)  # grows with what is there, whatever the sides claim
        if sha256(content).hexdigest() != manifest.mask:
            raise ValueError("its checksum does not match its content")
    except _UNREADABLE as error:
        remedy = "copy it again from where it was written, or fit again"
        raise RepresentationError(f"{path}: damaged mask ({error}); {remedy}") from error
    return Mask(manifest.spec.sides, np.frombuffer(content, np.uint8).reshape(shape))


def write_image(
    path: Path,
    image: Signal,
    format: PixelFormat,
    track: Track = iter,
    valid: ValidIn | None = None,
) -> Path:
    """Write an image as the suffix of a file demands, in the format's bit depth and range.

    Where it is not `valid` it gets the no-data value; see `with_nodata`. One of more than
    `IN_MEMORY_BYTES` is assembled in a scratch file in the folder of `path`. Raises `ImageError`
    for NaN, an unfit suffix or an unwritable file; `ValueError` for a volume.
    """
    if len(image.sides) != 2:
        raise ValueError(f"a volume of {len(image.sides)} axes: only images are rendered to files")
    check_writable_format(path, format, *image.sides)
    size = n_bytes((*image.sides, image.n_channels), format.written)
    folder = path.with_name(f".{path.name}.{os.getpid()}.scratch")
    with Scratch(None if size <= IN_MEMORY_BYTES else folder) as scratch:
        canvas = PixelCanvas(format, image.sides, scratch)
        for box in track(list(tiles(image.sides))):
            canvas.fill(box, image.read(box).cpu().numpy(), valid and valid(box))
        return canvas.save(path)


def can_have_overview(spec: Spec) -> bool:
    """Whether coarse levels need finer networks, and tiles are of whole pixels of the overview."""
    is_tiled = spec.patch_size % 2**OVERVIEW_LEVEL == 0
    return spec.evaluates_coarser and spec.n_levels > OVERVIEW_LEVEL and is_tiled


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

    own = tuple((low >> OVERVIEW_LEVEL, -(-high >> OVERVIEW_LEVEL)) for low, high in tile)
    return own, level_image(spec, OVERVIEW_LEVEL, shards, {0: read}, rendered.device).read(own)


def write_overview(folder: Path, spec: Spec, image: Signal) -> str:
    """Write the level in 8 or 16 bits, slices below each other; gives the file's checksum."""
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
    sides = spec.level_sides[OVERVIEW_LEVEL]

    def read(region: Region) -> Tensor:
        *depth, rows, columns = region
        lines = [(first * sides[-2], end * sides[-2]) for first, end in depth] or [rows]
        with errors_about(repr(str(path))):
            opened = open_tiff(path)
            stored = opened.load((*lines, columns), Scratch(None))((slice(None), slice(None)))
        format = PixelFormat.of_values(opened.dtype, opened.n_channels)
        found = torch.from_numpy(format.to_unit(np.moveaxis(stored, -1, 0)))
        return found.unflatten(1, (-1, sides[-2]))[:, :, slice(*rows)] if depth else found

    return {OVERVIEW_LEVEL: read}
