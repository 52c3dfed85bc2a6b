"""What Pillow reads and libvips does not: HEIC, and how many frames a PNG or JPEG has."""

import base64
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from miner.images.metadata import Metadata
from miner.images.pixel_format import OpenedFile, Read, decoding, new_array
from miner.signals.regions import Region, sides_of, slices, whole
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError


def count_frames(file: Path, loader: str) -> int:
    """Frames of a PNG, or pictures of a JPEG but for previews, by its loader's name; else 1."""
    from PIL.MpoImagePlugin import MpoImageFile
    from PIL.PngImagePlugin import PngImageFile

    try:
        if loader.startswith("png"):
            with file.open("rb") as stream, PngImageFile(stream) as frames:
                return int(getattr(frames, "n_frames", 1))
        if loader.startswith("jpeg"):
            with file.open("rb") as stream, MpoImageFile(stream) as pictures:
                table: Any = pictures.mpinfo  # of CIPA's multi-picture format
                return sum("Thumbnail" not in e["Attribute"]["MPType"] for e in table[0xB002])
    except Exception:  # raised over whatever has no such table
        return 1
    return 1


def open_heif(file: Path, codec: str) -> OpenedFile:
    """Read the header of a HEIF file's primary picture; it is decoded whole.

    Values of 10 and 12 bits fill 16, as libvips has those of AVIF. Raises `ImageError` for other
    codecs than HEVC, and without pillow-heif.
    """
    if codec != "hevc" or not find_spec("pillow_heif"):
        remedy = 'pip install "miner[heif]"' if codec == "hevc" else "convert it to PNG or TIFF"
        raise ImageError(f"is HEIF compressed by {codec.upper()}, which is not read here: {remedy}")
    import pillow_heif

    with decoding(), file.open("rb") as stream:
        image = pillow_heif.open_heif(stream, convert_hdr_to_8bit=False)
        (width, height), mode, info = image.size, image.mode.partition(";")[0], image.info
    if mode.endswith("a"):
        raise ImageError("has colours multiplied by alpha: export it again, without transparency")
    n = len(image)
    remarks = (f"has {n} pictures: only the primary one is read",) if n > 1 else ()
    return OpenedFile(
        name=file.stem,
        sides=(height, width),  # upright: libheif turns what it decodes
        n_channels=1 if mode == "I" else len(mode),
        dtype="uint16" if info["bit_depth"] > 8 else "uint8",
        load=partial(_load, image),
        remarks=remarks,
        metadata=Metadata(icc=base64.b64encode(info.get("icc_profile") or b"").decode()),
    )


def _load(image: Any, box: Region, scratch: Scratch) -> Read:
    with decoding():
        values = np.atleast_3d(np.asarray(image))[slices(box)]
    array = new_array(scratch, "image", (*sides_of(box), values.shape[2]), values.dtype)
    array[slices(whole(sides_of(box)))] = values
    return array.__getitem__
