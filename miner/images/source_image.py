"""An image that is read region by region, and what is filled in where it has no data."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.nodata import fill, find_mask, nodata_value
from miner.images.pixel_format import OpenedFile, Orientation, PixelFormat, Read, errors_about
from miner.signals.mask import Mask
from miner.signals.regions import Region, sides_of, slices, tiles, whole
from miner.signals.scratch import Scratch

_TILE_VALUES = 2**22
_DEFAULTS = {"float32": "nan", "int16": "-32768", "int8": "-128"}  # of sources without a value


@dataclass(frozen=True, eq=False)
class SourceImage:
    """An image that is read region by region, with what is needed to write it as its file was."""

    path: str  # as given to `open_image`, or an array's name
    name: str  # the file's name without its suffix, or the sample's
    format: PixelFormat
    sha256: str  # of the file's bytes, of all of a Zarr folder's files, or of a sample's pixels
    sides: tuple[int, ...]  # height and width, upright and cropped; of a volume the depth first
    stored: Read  # gives (*S, C) in the file's type, before they are turned upright
    orientation: Orientation
    mask: Mask | None = None  # of the pixels that are data, if not all are

    @property
    def n_channels(self) -> int:
        """Channels C."""
        return self.format.channels

    def read_stored(self, region: Region) -> NDArray[Any]:
        """Values in an upright region, (*S, C) in the file's type; may be a view."""
        index = slices(self.orientation.stored(region, self.sides))
        with errors_about(repr(self.path)):
            return self.orientation.upright(self.stored(index))

    def read(self, region: Region | None = None) -> NDArray[np.float32]:
        """Values in a region, or all, as a new (C, *S) in [0, 1]; threads may read at once."""
        region = whole(self.sides) if region is None else region
        return self.format.to_unit(np.moveaxis(self.read_stored(region), -1, 0))

    def parts(self) -> Iterator[tuple[Region, NDArray[Any]]]:
        """All regions of some size, with their stored values."""
        side = int((_TILE_VALUES / self.n_channels) ** (1 / len(self.sides)))
        for region in tiles(self.sides, max(1, side)):
            yield region, self.read_stored(region)


def loaded(
    opened: OpenedFile, box: Region, path: str, digest: str, scratch: Scratch
) -> SourceImage:
    """A part of an image in the range of its type."""
    turn, format = opened.orientation, PixelFormat.of_values(opened.dtype, opened.n_channels)
    stored = opened.load(turn.stored(box, opened.sides), scratch)
    format = replace(format, metadata=opened.metadata, stored=opened.stored)
    return SourceImage(path, opened.name, format, digest, sides_of(box), stored, turn)


def masked(
    image: SourceImage, nodata: str | float, given: Mask | None, scratch: Scratch
) -> SourceImage:
    """The image with its mask, and filled where there is one; `nodata` is auto, none or a value."""
    if nodata != "auto":
        value = "" if nodata == "none" else f"{float(nodata):.17g}"
        metadata = replace(image.format.metadata, nodata=value)
        image = replace(image, format=replace(image.format, metadata=metadata))
    mask = find_mask(image.read_stored, image.format, image.sides, nodata != "auto", given)
    if mask is None:
        return image
    metadata, written = image.format.metadata, image.format.written
    if nodata_value(metadata.nodata, written) is None:  # to be written
        metadata = replace(metadata, nodata=_DEFAULTS.get(written, "0"))
        image = replace(image, format=replace(image.format, metadata=metadata))
    filled = fill(image.read_stored, image.format, mask, scratch)
    scratch.remove("image")  # whose space was counted once
    return replace(image, mask=mask, stored=filled.__getitem__, orientation=Orientation())
