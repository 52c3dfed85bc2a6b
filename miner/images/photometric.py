"""What the samples of a TIFF page mean, and the pixels that the standard's formulas make of them.

Unsigned samples of 1, 2 and 4 bits are spread over 0..255, those of 9 to 16 bits are kept.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.pixel_format import pixel_type
from miner.support.errors import ImageError

Samples = NDArray[Any]
_OLD_JPEG, _ICC_PROFILE, _COLOUR_MAP, _INK_SET, _PHOTOMETRIC = 6, 34675, 320, 332, 262
_JPEGS = (_OLD_JPEG, 7, 33007, 34892)  # which decode YCbCr to RGB
_ASSOCIATED = 1  # of ExtraSamples: the colours were multiplied by this one
_RAW = ("CFA", "LINEAR_RAW")
_AS_RGB = "save it as an RGB TIFF"


@dataclass(frozen=True)
class Conversion:
    """Makes pixels (H, W, C) of decoded samples (H, W, S)."""

    n_channels: int
    dtype: np.dtype[Any]  # of the pixels, or of the samples that become float32
    convert: Callable[[Samples], Samples]
    remarks: tuple[str, ...]


def find_conversion(page: Any) -> Conversion:
    """How to read the samples of tifffile's page; `ImageError` for what has no agreed meaning."""
    kind = str(getattr(page.photometric, "name", page.photometric))
    if _PHOTOMETRIC not in page.tags and int(page.compression) != _OLD_JPEG:
        raise ImageError(
            "does not say what its samples mean (PhotometricInterpretation): export it"
        )
    if kind in _RAW:
        raise ImageError(f"holds raw sensor data ({kind}): develop it, and {_AS_RGB}")
    if kind not in _KINDS:
        raise ImageError(f"is of the photometric kind {kind}, which is not read: {_AS_RGB}")
    _refuse_type(page)
    n_colours, find = _KINDS[kind]
    n_more = page.samplesperpixel - n_colours
    if n_more < len(page.extrasamples):
        problem = f"{len(page.extrasamples)} of them extra, which is too few for {kind}"
        raise ImageError(f"has {page.samplesperpixel} samples a pixel, {problem}: {_AS_RGB}")
    colours = find(page)
    step = 255 // (2**page.bitspersample - 1) if page.bitspersample < 8 else 1
    alpha = [n - len(page.extrasamples) for n, one in enumerate(page.extrasamples) if one == 1]
    if alpha and (kind not in ("MINISBLACK", "RGB") or page.dtype.kind == "i" or len(alpha) > 1):
        problem = f"has associated alpha in {kind} of {page.dtype}"
        raise ImageError(f"{problem}, which has no agreed meaning: {_AS_RGB}")

    def convert(samples: Samples) -> Samples:
        values, more = samples[..., :n_colours], samples[..., n_colours:]
        if step > 1:
            more = more.astype(np.uint8) * np.uint8(step)
            values = values if kind == "PALETTE" else values.astype(np.uint8) * np.uint8(step)
        if alpha:
            values = _divided(values, more[..., alpha], _most(page))
        values = colours(values) if colours else values
        return np.concatenate([values, more], axis=-1) if n_more else values

    is_plain = step == 1 and not alpha and colours is None
    probe = convert(np.zeros((1, 1, page.samplesperpixel), page.dtype))
    dtype = page.dtype if probe.dtype.kind == "f" else probe.dtype
    remarks = ["has associated alpha: the colours are divided by it"] if alpha else []
    if kind in ("SEPARATED", "CIELAB"):
        remarks.append(f"is in {_SPACES[kind]}: converted to sRGB")
    return Conversion(probe.shape[-1], dtype, _same if is_plain else convert, tuple(remarks))


def _refuse_type(page: Any) -> None:
    bits = page.bitspersample
    if isinstance(bits, tuple) or page.dtype is None or bits in (3, 5, 6, 7):
        name = str(getattr(page.sampleformat, "name", page.sampleformat))
        problem = f"has samples of {bits} bits (sample format {name})"
        raise ImageError(f"{problem}, which are not read: save it with 8, 16 or 32 bits a sample")
    if pixel_type(page.dtype) is None:
        raise ImageError(f"holds {page.dtype} values: save it as real numbers, say float32")


def _same(samples: Samples) -> Samples:
    return samples


def _most(page: Any) -> int:
    """What stands for white and for opaque: 1 of floats."""
    return 1 if page.dtype.kind == "f" else max(2 ** int(page.bitspersample) - 1, 255)


def _divided(colours: Samples, alpha: Samples, most: int) -> Samples:
    """Colours by alpha, 0 where that is 0; whole numbers up to 16 bits are rounded and bounded."""
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(alpha == 0, 0, colours.astype(np.float64) * most / alpha)
    if pixel_type(colours.dtype) == "float32":
        return values
    rounded: Samples = np.rint(values.clip(0, most)).astype(colours.dtype)
    return rounded


_Find = Callable[[Any], Callable[[Samples], Samples] | None]


def _keep(page: Any) -> None:
    return None


def _invert(page: Any) -> Callable[[Samples], Samples]:
    """Zero is white: the greatest value less each; of signed ones -1 less each."""
    if page.dtype.kind == "f":
        problem = "has floats of which 0 is white (MinIsWhite), without an agreed black"
        raise ImageError(f"{problem}: save it as MinIsBlack")
    if page.dtype.kind == "i":
        return np.invert
    most = _most(page)
    return lambda values: values.dtype.type(most) - values


def _look_up(page: Any) -> Callable[[Samples], Samples]:
    """A palette's colours; one of greys gives one channel."""
    table = np.array(page.tags.valueof(_COLOUR_MAP, ()), np.uint16).reshape(3, -1)
    bits, n_more = page.bitspersample, page.samplesperpixel - 1
    if page.dtype.kind not in "ub" or table.shape[1] != 2**bits or (bits > 8 and n_more):
        problem = f"has a palette of {table.shape[1]} colours for samples of {bits} bits"
        raise ImageError(f"{problem}, {n_more} of them extra: {_AS_RGB}")
    # the standard's are 16 bits; some programs write 8
    colours = (table >> 8 if table.max() > 255 else table).astype(np.uint8).T
    if (colours == colours[:, :1]).all():
        colours = colours[:, :1]
    return lambda values: colours[values[..., 0].astype(np.intp)]


def _from_cmyk(page: Any) -> Callable[[Samples], Samples]:
    if page.tags.valueof(_INK_SET, 1) != 1:
        raise ImageError(f"holds other inks than CMYK, which are not read: {_AS_RGB}")
    if page.dtype.kind not in "ub" or page.bitspersample not in (1, 2, 4, 8, 16):
        bits = page.bitspersample
        raise ImageError(f"is in CMYK of {page.dtype} of {bits} bits, which is not read: {_AS_RGB}")
    profile, target = (
        page.tags.valueof(_ICC_PROFILE),
        "rgb16" if page.bitspersample == 16 else "srgb",
    )
    return lambda values: _by_vips(values, "cmyk", target, profile)


def _from_lab(page: Any) -> Callable[[Samples], Samples]:
    if page.dtype == np.float32:
        return lambda values: _by_vips(values, "lab", "srgb")
    if page.dtype not in (np.uint8, np.uint16) or page.bitspersample not in (8, 16):
        raise ImageError(f"is in CIELab of {page.dtype}, which is not read: {_AS_RGB}")

    def convert(values: Samples) -> Samples:
        lightness = values[..., :1] * np.float64(100 / _most(page))
        signed = values[..., 1:].astype(f"i{values.itemsize}") / 256.0 ** (values.itemsize - 1)
        lab = np.concatenate([lightness, signed], axis=-1, dtype=np.float32)
        return _by_vips(lab, "lab", "srgb")

    return convert


def _from_ycbcr(page: Any) -> None:
    if int(page.compression) not in _JPEGS or page.samplesperpixel > 3 or page.shaped[0] > 1:
        raise ImageError(f"is in YCbCr that is not compressed by JPEG: {_AS_RGB}")


def _by_vips(values: Samples, space: str, target: str, profile: bytes | None = None) -> Samples:
    import pyvips

    image = pyvips.Image.new_from_array(np.ascontiguousarray(values)).copy(interpretation=space)
    if profile:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return np.asarray(image.colourspace(target).numpy())


_KINDS: dict[str, tuple[int, _Find]] = {  # samples of a colour, and what makes pixels of them
    "MINISWHITE": (1, _invert),
    "MINISBLACK": (1, _keep),
    "RGB": (3, _keep),
    "PALETTE": (1, _look_up),
    "SEPARATED": (4, _from_cmyk),
    "YCBCR": (3, _from_ycbcr),
    "CIELAB": (3, _from_lab),
}
_SPACES = {"SEPARATED": "CMYK", "CIELAB": "CIELab"}
