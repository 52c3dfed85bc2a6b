"""What a file says of its pixels besides the values: kept, and written with what is rendered."""

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from miner.signals.regions import Region
from miner.support.ranges import Positive, rule, whole

if TYPE_CHECKING:
    import pyvips

Resolution = tuple[Positive, Positive]  # pixels an inch, across and down
_UNITS = {2: 1, 3: Fraction("2.54"), "in": 1, "cm": Fraction("2.54")}  # in an inch
_MOST_VALUES, _MOST_ICC_BYTES = 2**14, 2**22  # of a tag, of a profile: manifests hold them
_ICC, _UNIT, _RESOLUTIONS = 34675, 296, (282, 283)
_COLOURS = {2: 3, 5: 4, 6: 3, 8: 3}  # samples before the extra ones, by photometric interpretation
_SPACES = {1: b"GRAY", 2: b"RGB ", 3: b"RGB ", 6: b"RGB "}  # by the same, of values kept as stored
_ALPHA: dict[int, Literal[0, 2]] = {1: 2, 2: 2}  # of TIFF's ExtraSamples, once it is read
_USUAL_NAMES = ("Y", "YA", "RGB", "RGBA")
_POINTS = (1025, 0, 1, 2)  # the key that whole numbers are centres of pixels, not corners
_TAGS = {  # of fields of `GeoTags` and `Metadata`, and their types as in Python's `struct`
    **{"scale": (33550, "d"), "ties": (33922, "d"), "matrix": (34264, "d"), "keys": (34735, "H")},
    **{"doubles": (34736, "d"), "text": (34737, "s"), "nodata": (42113, "s")},
}


@dataclass(frozen=True)
class GeoTags:
    """GeoTIFF's tags: where pixels lie on earth."""

    scale: tuple[float, ...] = ()  # of a pixel across and down, and of a value
    ties: tuple[float, ...] = ()  # column, row, depth and x, y, z of each point
    matrix: tuple[float, ...] = ()  # 4 x 4, row by row: column, row, depth, 1 to x, y, z, 1
    keys: tuple[Annotated[int, whole(0, 2**16 - 1)], ...] = ()
    doubles: tuple[float, ...] = ()
    text: str = ""

    def at(self, firsts: NDArray[Any], steps: NDArray[Any]) -> Self | None:
        """Of a part from a column and row on, with pixels of `steps`; None for unusual numbers."""
        is_of_centres = _POINTS in zip(*[iter(self.keys)] * 4, strict=False)
        starts = firsts + 0.5 * is_of_centres * (steps - 1)  # its column n is start + step * n
        parts = (self.scale, 3), (self.ties, 6), (self.matrix, 4)
        if any(len(one) % n for one, n in parts):
            return None
        scale, ties, matrix = (np.array(one, float).reshape(-1, n) for one, n in parts)
        if self.scale:  # many readers take a point to be that of pixel 0, as it mostly is
            ties[:, 3:5] += scale[0, :2] * (1, -1) * (starts + (steps - 1) * ties[:, :2])
        else:
            ties[:, :2] = (ties[:, :2] - starts) / steps
        scale[:, :2] *= steps
        matrix[:3, 3] += matrix[:3, :2] @ starts
        matrix[:3, :2] *= steps
        found = [tuple(values.ravel().tolist()) for values in (scale, ties, matrix)]
        is_finite = np.isfinite([*self.doubles, *found[0], *found[1], *found[2]]).all()
        return replace(self, scale=found[0], ties=found[1], matrix=found[2]) if is_finite else None


@dataclass(frozen=True)
class ExrHeader:
    """OpenEXR's channels, in the order of the image, and windows."""

    names: tuple[Annotated[str, rule("be a name", min_length=1, max_length=255)], ...]
    halves: tuple[bool, ...]  # which are stored in 16 bits
    display: tuple[int, ...]  # left, top, right, bottom, the last ones included
    data: tuple[int, ...]

    def at(self, firsts: NDArray[Any], spans: NDArray[Any], sizes: NDArray[Any]) -> Self:
        """Of a part from a column and row on, of which `spans` pixels are drawn in `sizes`."""
        low = (np.array(self.data[:2]) + firsts) * sizes // spans
        begin = np.array(self.display[:2]) * sizes // spans
        end = -(-(np.array(self.display[2:]) + 1) * sizes // spans) - 1
        data, display = (*low, *(low + sizes - 1)), (*begin, *end)
        if max(map(abs, data + display)) > 2**30:  # a part that is enlarged a million times
            data = display = 0, 0, *(sizes - 1)
        return replace(self, display=tuple(map(int, display)), data=tuple(map(int, data)))


@dataclass(frozen=True)
class Metadata:
    """Resolution, profile, no-data value, alpha and places; each is empty where a file is."""

    resolution: Resolution | None = None
    icc: str = ""  # the colour profile, in base64
    nodata: str = ""  # what pixels without data hold, as in GDAL's tag: -9999, nan
    # channels after grey or RGB as in TIFF's ExtraSamples: 0 unknown, 1 associated alpha, 2 alpha
    extra: tuple[Literal[0, 1, 2], ...] = ()
    geo: GeoTags | None = None
    exr: ExrHeader | None = None

    def at(self, box: Region, sides: Sequence[int], level: int = 0) -> Self:
        """Of a box of a level's pixels that is drawn in so many, both rows first."""
        (firsts, ends), sizes = np.array(box)[:-3:-1].T << level, np.array(sides)[:-3:-1]
        spans = ends - firsts  # the last pixels of a level may end beyond the image
        resolution = _resolution((np.array(self.resolution or 0) * sizes / spans).tolist())
        exr = self.exr and self.exr.at(firsts, spans, sizes)
        with np.errstate(all="ignore"):
            geo = self.geo and self.geo.at(firsts, spans / sizes)
        return replace(self, resolution=resolution, geo=geo, exr=exr)

    def turned(self, swaps: bool) -> Self:
        """Of the image turned upright: places on earth are lost."""
        x, y = self.resolution or (0, 0)
        return replace(self, geo=None, resolution=(y, x) if swaps and x else self.resolution)

    def tiff_tags(self) -> list[tuple[Any, ...]]:
        """Those of GeoTIFF and GDAL, as tifffile takes them."""
        values = {**(vars(self.geo) if self.geo else {}), "nodata": self.nodata}
        return [(*_TAGS[name], len(one), one, True) for name, one in values.items() if one]

    def lost_in(self, suffix: str) -> str:
        """What a kind of file cannot hold, in words; empty if nothing."""
        is_tiff, exr = suffix in (".tif", ".tiff"), self.exr
        is_usual = exr and "".join(exr.names) in _USUAL_NAMES and exr.data == exr.display
        lost = {
            "resolution": self.resolution and suffix == ".npy",
            "colour profile": self.icc and suffix in (".npy", ".exr"),
            "GeoTIFF tags": self.geo and not is_tiff,
            "no-data tag": self.nodata and not is_tiff,
            "channel names or windows": exr and not is_usual and suffix != ".exr",
        }
        return ", ".join(name for name, is_lost in lost.items() if is_lost)


NO_METADATA = Metadata()


def tiff_metadata(page: Any) -> Metadata:
    """What a page of tifffile says, as stored; who reads it must divide by associated alpha."""
    n_samples, kind = int(page.samplesperpixel), int(page.photometric)
    n_extra = max(0, n_samples - _COLOURS.get(kind, 1))
    said = (*[0] * n_extra, *page.extrasamples)[len(page.extrasamples) :]  # of the last samples
    extra = tuple(_ALPHA.get(one, 0) for one in said)
    sides, unit = [_tag(page, code) for code in _RESOLUTIONS], _tag(page, _UNIT)
    unit = 2 if unit is None else int(unit)  # that of NONE is false
    resolution = _resolution([f"{n}/{over}" for n, over in filter(None, sides)], _UNITS.get(unit))
    icc = _profile(_tag(page, _ICC, _MOST_ICC_BYTES), _SPACES.get(kind))
    found: dict[str, Any] = {}
    for name, (code, dtype) in _TAGS.items():
        value = _tag(page, code)
        if isinstance(value, str) and dtype == "s":
            found[name] = value.encode("ascii", "replace").decode()
        elif value is not None:
            with suppress(ArithmeticError, TypeError, ValueError):  # of another type
                found[name] = tuple(np.atleast_1d(np.array(value, dtype)).tolist())
    nodata = found.pop("nodata", "")
    return Metadata(resolution, icc, nodata, extra, GeoTags(**found) if found else None)


def _tag(page: Any, code: int, most: int = _MOST_VALUES) -> Any:
    """A tag's value; None if it is absent, too large or damaged."""
    with suppress(Exception):  # tifffile raises anything over damaged files
        return page.tags[code].value if page.tags[code].count <= most else None
    return None


def vips_metadata(image: "pyvips.Image", file: Path) -> Metadata:
    """What a file says that libvips has opened; 2 and 4 channels have alpha."""
    names = "resolution-unit", "exif-ifd0-XResolution", "exif-ifd0-YResolution", "icc-profile-data"
    unit, *exif, icc = (image.get(name) if image.get_typeof(name) else None for name in names)
    unit = _UNITS.get(unit)  # without one, xres is a default
    resolution = _resolution([one.partition(" ")[0] for one in exif if one], unit)
    if unit and not resolution:
        resolution = _resolution((image.xres, image.yres), Fraction("25.4"))
    if image.get("vips-loader").startswith("png"):
        with file.open("rb") as stream:
            if _find_resolution(stream) and (found := struct.unpack(">IIB", stream.read(9)))[2]:
                resolution = _resolution(found[:2], Fraction("0.0254"))
    extra: Any = (2,) if image.bands in (2, 4) else ()
    return Metadata(resolution, _profile(icc, _SPACES[1 if image.bands < 3 else 2]), extra=extra)


def exr_metadata(header: Mapping[str, Any], types: Mapping[str, str]) -> Metadata:
    """What a header of OpenEXR says, and the types of its channels, in the order of the image."""
    windows = [tuple(np.ravel(header[f"{name}Window"]).tolist()) for name in ("display", "data")]
    names, density = tuple(types), header.get("xDensity", 0)  # pixels an inch
    resolution = _resolution((density, density * header["pixelAspectRatio"]))
    n_colours = 3 if names[:3] == ("R", "G", "B") else 1
    extra: Any = tuple(int(name == "A") for name in names[n_colours:])
    halves = tuple(kind == "HALF" for kind in types.values())
    return Metadata(resolution, extra=extra, exr=ExrHeader(names, halves, *windows))


def pillow_metadata(info: Mapping[str, Any], bands: str) -> Metadata:
    """What an image of PIL says, of which these bands are read."""
    dpi = info.get("dpi")  # (1, 1) of a TIFF without any
    icc = _profile(info.get("icc_profile"), _SPACES[1 if len(bands) < 3 else 2])
    extra: Any = (2,) if bands.endswith("A") else ()
    return Metadata(None if dpi == (1, 1) else _resolution(dpi), icc, extra=extra)


def _resolution(values: Any, in_an_inch: Any = 1) -> Resolution | None:
    """Pixels an inch from two numbers or texts as 300/1; None if they cannot be that."""
    with suppress(ArithmeticError, TypeError, ValueError):
        x, y = (float(Fraction(value) * in_an_inch) for value in values)
        return (x, y) if 0.03 <= min(x, y) <= max(x, y) <= 2e7 else None
    return None


def _profile(data: bytes | None, space: bytes | None) -> str:
    """A colour profile in base64; empty if it is damaged, too large or of another colour space."""
    import pyvips

    size = int.from_bytes((data := data or b"")[:4])
    is_sound = 132 <= size <= min(len(data), _MOST_ICC_BYTES) and data[36:40] == b"acsp"
    if not is_sound or data[16:20] != space:
        return ""
    image = pyvips.Image.black(1, 1, bands=1 if space == _SPACES[1] else 3).copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", data[:size])
    try:
        image.pngsave_buffer()  # which some damage ends
    except pyvips.Error:
        return ""
    return base64.b64encode(data[:size]).decode()


def profile_remarks(profile: object, metadata: Metadata) -> list[str]:
    """A remark on a profile that a file has, and that is not kept."""
    reason = "damaged, above 4 MiB or not of these colours"
    return [f"has a colour profile that is left out: {reason}"] * bool(profile and not metadata.icc)


def _find_resolution(stream: IO[bytes]) -> bool:
    """Go to the values of a PNG's chunk pHYs; False if it has none."""
    stream.seek(8)
    while len(header := stream.read(8)) == 8 and header[4:] not in (b"pHYs", b"IDAT"):
        stream.seek(int.from_bytes(header[:4]) + 4, 1)
    return header[4:] == b"pHYs"


def set_png_resolution(stream: IO[bytes], resolution: Resolution | None) -> None:
    """Say a PNG's resolution, or that there is none, instead of what libvips has written."""
    if _find_resolution(stream):
        pixels = [round(n / 0.0254) for n in resolution] if resolution else (1, 1)
        values = struct.pack(">IIB", *pixels, resolution is not None)
        stream.seek(0, 1)  # between reading and writing
        stream.write(values + struct.pack(">I", zlib.crc32(b"pHYs" + values)))
