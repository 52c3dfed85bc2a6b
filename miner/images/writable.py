"""Which kinds of file can hold which images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from miner.images.array_view import layout_of
from miner.images.errors import ImageError
from miner.images.pixel_format import PixelFormat, PixelType

_BYTES: tuple[PixelType, ...] = ("uint8",)
_INTEGERS: tuple[PixelType, ...] = ("uint8", "uint16")
_ANY: tuple[PixelType, ...] = ("uint8", "uint16", "float32")
_NO_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class _Limits:
    dtypes: tuple[PixelType, ...]
    channels: tuple[int, ...] | None  # None is any number
    side_px: int = _NO_LIMIT


_LIMITS = {
    ".png": _Limits(_INTEGERS, (1, 2, 3, 4)),
    ".jpg": _Limits(_BYTES, (1, 3), 65500),
    ".jpeg": _Limits(_BYTES, (1, 3), 65500),
    ".webp": _Limits(_BYTES, (1, 2, 3, 4), 16383),  # grey becomes RGB
    ".avif": _Limits(_BYTES, (1, 2, 3, 4), 16384),  # as above
    ".tif": _Limits(_ANY, None),
    ".tiff": _Limits(_ANY, None),
    ".exr": _Limits(("float32",), None),
    ".npy": _Limits(_ANY, None),
}


def check_writable_format(path: Path, format: PixelFormat, height_px: int, width_px: int) -> None:
    """Check, before anything is rendered, that a file with the suffix of `path` can hold an image.

    Raises:
        ImageError: the suffix is unknown, or its kind of file cannot hold the type of the values,
            the channels or the size.
    """
    limits = _LIMITS.get(path.suffix.lower())
    if limits is None:
        raise ImageError(f"{str(path)!r}: end the name with one of {', '.join(_LIMITS)}")
    kind = path.suffix.lower().removeprefix(".")
    if format.dtype not in limits.dtypes:
        raise ImageError(
            f"{str(path)!r}: {kind} holds {' or '.join(limits.dtypes)} values, the image has "
            f"{format.dtype}; name a {_remedy(format)}"
        )
    if limits.channels is not None and format.channels not in limits.channels:
        raise ImageError(
            f"{str(path)!r}: {kind} holds {', '.join(map(str, limits.channels))} channels, the "
            f"image has {format.channels}; name a {_remedy(format)}"
        )
    if max(height_px, width_px) > limits.side_px:
        raise ImageError(
            f"{str(path)!r}: {kind} holds at most {limits.side_px} pixels a side, the image has "
            f"{width_px} x {height_px}; name a .tif"
        )
    if kind == "npy" and layout_of((height_px, width_px, format.channels)) == "CHW":
        raise ImageError(
            f"{str(path)!r}: an array of {height_px} rows and {format.channels} channels is read "
            f"as one of {height_px} channels; name a .tif"
        )


def _remedy(format: PixelFormat) -> str:
    return ".tif" if format.dtype == "float32" or format.channels > 4 else ".png or .tif"
