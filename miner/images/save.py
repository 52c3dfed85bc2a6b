"""Writing an array of pixels as a file, a part at a time."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from miner.images.raw_tiff import RawTiff
from miner.scratch import ArrayLike, NpyFile, n_bytes

if TYPE_CHECKING:
    import pyvips

_BAND_VALUES = 2**22
_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {},
    ".jpg": {"Q": 95},
    ".webp": {"Q": 95},
    ".avif": {"Q": 90},
}
_SAME_KIND = {".jpeg": ".jpg", ".tiff": ".tif"}


def save_array(path: Path, suffix: str, array: ArrayLike, interpretation: str) -> None:
    """Write (H, W, C) to `path`, whatever its name, as the kind of file that `suffix` names.

    Raises:
        OSError: the file cannot be written.
        pyvips.Error: likewise.
    """
    suffix = _SAME_KIND.get(suffix, suffix)
    if suffix == ".npy":
        _save_npy(path, array)
    elif suffix == ".exr":
        _save_exr(path, array)
    else:
        _save_by_vips(path, suffix, array, interpretation)


def _bands(array: ArrayLike) -> list[slice]:
    """Slices of rows that are read at once."""
    height, width, channels = array.shape
    step = max(1, _BAND_VALUES // (width * channels))
    return [slice(row, min(row + step, height)) for row in range(0, height, step)]


def _save_npy(path: Path, array: ArrayLike) -> None:
    with path.open("wb") as stream:
        header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for rows in _bands(array):
            stream.write(array[rows,].tobytes())


def _save_exr(path: Path, array: ArrayLike) -> None:
    import Imath
    import OpenEXR

    height, width, channels = array.shape
    names = _channel_names(channels)
    header = OpenEXR.Header(width, height)
    kind = Imath.Channel(Imath.PixelType(Imath.PixelType.FLOAT))
    header["channels"] = dict.fromkeys(names, kind)
    # the path of a descriptor, as OpenEXR wants names in UTF-8
    with (
        path.open("w+b") as stream,
        closing(OpenEXR.OutputFile(f"/dev/fd/{stream.fileno()}", header)) as opened,
    ):
        for rows in _bands(array):
            planes = np.moveaxis(array[rows,], -1, 0)
            values = {name: plane.tobytes() for name, plane in zip(names, planes, strict=True)}
            opened.writePixels(values, rows.stop - rows.start)


def _channel_names(channels: int) -> list[str]:
    """Names that are read back in this order."""
    known = {1: "Y", 2: "YA", 3: "RGB", 4: "RGBA"}
    return list(known.get(channels, "")) or [f"C{number:04d}" for number in range(channels)]


def _save_by_vips(path: Path, suffix: str, array: ArrayLike, interpretation: str) -> None:
    import pyvips

    options = _OPTIONS[suffix] if suffix != ".tif" else _tiff_options(array)
    # a descriptor, as pyvips wants names in UTF-8; readable, as TIFF is read back
    with path.open("w+b") as stream:
        target = pyvips.Target.new_to_descriptor(stream.fileno())
        if not isinstance(array, NpyFile):
            image = pyvips.Image.new_from_array(array)
            image.copy(interpretation=interpretation).write_to_target(target, suffix, **options)
            return
        with array.path.open("rb") as pixels:
            raw = RawTiff(array, pixels)
            try:
                image = _streamed(raw).copy(interpretation=interpretation)
                image.write_to_target(target, suffix, **options)
            finally:
                if raw.error:
                    raise raw.error


def _streamed(raw: RawTiff) -> pyvips.Image:
    import pyvips

    source = pyvips.SourceCustom()
    source.on_read(raw.read)
    source.on_seek(raw.seek)
    return pyvips.Image.new_from_source(source, "", access="sequential", fail_on="error")


def _tiff_options(array: ArrayLike) -> dict[str, Any]:
    return {
        "compression": "deflate",
        # of floats, tifffile reads none without imagecodecs
        "predictor": "none" if array.dtype == np.float32 else "horizontal",
        "tile": True,
        "tile_width": 256,
        "tile_height": 256,
        "bigtiff": n_bytes(array.shape, array.dtype) >= 2**31,  # plain TIFF ends at 4 GiB
    }
