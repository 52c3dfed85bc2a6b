"""What Pillow reads and libvips does not: HEIC, and how many frames a PNG or JPEG has."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from miner.images.arrays import open_array
from miner.images.metadata import pillow_metadata, profile_remarks
from miner.images.pixel_format import OpenedFile, PixelType, Read, decoding
from miner.signals.regions import Region
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError


def count_frames(file: Path) -> int:
    """Frames of a PNG, or pictures of a JPEG but for previews; 1 of any other file."""
    from PIL import MpoImagePlugin, PngImagePlugin

    try:
        with file.open("rb") as stream:
            if stream.peek(4).startswith(b"\x89PNG"):
                return int(getattr(PngImagePlugin.PngImageFile(stream), "n_frames", 1))
            table: Any = MpoImagePlugin.MpoImageFile(stream).mpinfo
            return sum("Thumbnail" not in one["Attribute"]["MPType"] for one in table[0xB002])
    except Exception:  # raised over whatever has no such table
        return 1


def open_heif(file: Path, codec: str) -> OpenedFile:
    """Read the header of a HEIF file's primary picture; it is decoded whole, and upright.

    Values of 10 and 12 bits fill 16, as libvips has those of AVIF. Raises `ImageError` for other
    codecs than HEVC, and without pillow-heif.
    """
    if codec != "hevc" or not find_spec("pillow_heif"):
        remedy = 'pip install "miner[heif]"' if codec == "hevc" else "convert it to PNG or TIFF"
        raise ImageError(f"is HEIF compressed by {codec.upper()}, which is not read here: {remedy}")
    import pillow_heif

    with decoding(), file.open("rb") as stream:
        image = pillow_heif.open_heif(stream, convert_hdr_to_8bit=False)
        mode, sides, n = image.mode.partition(";")[0], image.size[::-1], len(image)
        metadata = pillow_metadata(image.info, mode)
        dtype: PixelType = "uint16" if image.info["bit_depth"] > 8 else "uint8"
    if mode.endswith("a"):
        raise ImageError("has colours multiplied by alpha: export it again, without transparency")

    def load(box: Region, scratch: Scratch) -> Read:
        with decoding():
            values = np.atleast_3d(np.asarray(image))
        return open_array(file.stem, values, "HWC").load(box, scratch)

    remarks = (f"has {n} pictures: only the primary one is read",) if n > 1 else ()
    remarks = (*remarks, *profile_remarks(image.info.get("icc_profile"), metadata))
    channels = 1 if mode == "I" else len(mode)
    return OpenedFile(file.stem, sides, channels, dtype, load, remarks=remarks, metadata=metadata)
