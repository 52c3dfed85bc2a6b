"""What the samples of a TIFF page mean: pixels by the standard's formulas, or why none are made."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.pixel_format import pixel_type
from miner.support.errors import ImageError

Samples = NDArray[Any]
_COLOUR_MAP, _INK_SET, _ICC_PROFILE, _PHOTOMETRIC = 320, 332, 34675, 262  # tags
_NOT_COMPRESSED, _PACKBITS, _LERC = 1, 32773, 34887
_JPEGS = (7, 33007, 34892)  # which make RGB of YCbCr
_PREDICTED = (5, 8, 32946, 34925, 34926, 50000, 50013)  # LZW, deflate, LZMA, ZSTD
_OTHERWISE = (6, 33003, 65000, 65001, 65002)  # old JPEG, JPEG 2000 in YCbCr; of several cameras
_N_COLOURS = {"MINISWHITE": 1, "MINISBLACK": 1, "PALETTE": 1, "SEPARATED": 4}
_N_COLOURS |= dict.fromkeys(("RGB", "YCBCR", "CIELAB"), 3)
_REMEDY = "save it as an uncompressed RGB or MinIsBlack TIFF of 8, 16 or 32 bits a sample"


def find_conversion(page: Any) -> tuple[Callable[[Samples], Samples], list[str]]:
    """What makes pixels (H, W, C) of a page's samples (H, W, S), and remarks on what it changes.

    Unsigned samples of 1, 2 and 4 bits are spread over 0..255, those of 9 to 16 bits are kept.
    Raises `ImageError` for a page that is not read.
    """
    kind = str(getattr(page.photometric, "name", page.photometric))
    if problem := next(_problems(page, kind), ""):
        raise ImageError(f"{problem}, which is not read: {_REMEDY}")
    n, extra, bits = _N_COLOURS[kind], page.extrasamples, int(page.bitspersample)
    most: Any = {"f": 1, "i": -1}.get(page.dtype.kind, max(2**bits - 1, 255))  # white, opaque
    step = max(1, 255 // (2**bits - 1))
    paint = _PAINTS.get(kind)

    def convert(samples: Samples) -> Samples:
        colours, others = samples[..., :n], samples[..., n:]
        if step > 1:
            others = others.astype(np.uint8) * np.uint8(step)
            colours = colours if kind == "PALETTE" else colours.astype(np.uint8) * np.uint8(step)
        if 1 in extra:
            colours = _divided(colours, others[..., extra.index(1) - len(extra), None], most)
        colours = paint(page, colours, most) if paint else colours
        return np.concatenate([colours, others], axis=-1) if others.size else colours

    remarks = ["has associated alpha: the colours are divided by it"] if 1 in extra else []
    space = {"SEPARATED": "CMYK", "CIELAB": "CIELab"}.get(kind)
    return convert, [*remarks, *([f"is in {space}: converted to sRGB"] if space else [])]


def _problems(page: Any, kind: str) -> Iterator[str]:
    """Why a page is refused; only the first counts."""
    import tifffile

    bits, dtype, extra = page.bitspersample, page.dtype, page.extrasamples
    code, codec = int(page.compression), getattr(page.compression, "name", page.compression)
    if kind in ("CFA", "LINEAR_RAW"):
        yield f"holds raw sensor data ({kind})"
    if _PHOTOMETRIC not in page.tags:
        yield f"lacks the tag {_PHOTOMETRIC}, PhotometricInterpretation"
    if kind not in _N_COLOURS:
        yield f"is of the photometric kind {kind}"
    if bits not in (1, 2, 4, *range(8, 17), 32, 64, 128) or dtype is None:
        yield f"has samples of {bits} bits, format {page.sampleformat}"
    if pixel_type(dtype) is None:
        yield f"holds {dtype} values"
    decode = tifffile.TIFF.DECOMPRESSORS.get(code)
    is_odd = code == _LERC and page.parent.byteorder == ">" and bits > 8  # readers differ
    if is_odd or code in _OTHERWISE or decode is None or decode.__name__ == "stub_decode":
        yield f"is compressed by {codec}"
    is_odd = dtype.kind not in {2: "uif", 3: "f"}.get(int(page.predictor), "")
    is_odd = code in _PREDICTED and (is_odd or bits not in (8, 16, 32, 64))
    if page.predictor != 1 and (is_odd or code in (_NOT_COMPRESSED, _PACKBITS)):
        yield f"has predictor {int(page.predictor)} for {dtype} of {bits} bits, {codec}"
    if page.imagedepth > 1:
        yield f"has {page.imagedepth} slices in a page"
    n_more, is_unsigned = page.samplesperpixel - _N_COLOURS[kind], dtype.kind in "ub"
    if n_more < len(extra):
        yield f"has {page.samplesperpixel} samples a pixel, {len(extra)} of them extra, in {kind}"
    is_light = kind in ("MINISBLACK", "RGB") and dtype.kind != "i"
    if 1 in extra and (not is_light or extra.count(1) > 1):
        yield f"has associated alpha in {kind} of {dtype}"
    if kind == "MINISWHITE" and dtype.kind == "f":
        yield "has floats of which 0 is white (MinIsWhite)"
    if kind == "YCBCR" and (code not in _JPEGS or n_more or page.shaped[0] > 1):
        yield "is in YCbCr that is not compressed by JPEG"
    if kind == "SEPARATED" and page.tags.valueof(_INK_SET, 1) != 1:
        yield "holds other inks than CMYK"
    if kind == "SEPARATED" and not (is_unsigned and bits in (1, 2, 4, 8, 16)):
        yield f"is in CMYK of {bits} bits, {dtype}"
    if kind == "CIELAB" and not (is_unsigned and bits in (8, 16)) and dtype != np.float32:
        yield f"is in CIELab of {bits} bits, {dtype}"
    n_map = np.size(page.tags.valueof(_COLOUR_MAP, ())) // 3
    if kind == "PALETTE" and (not is_unsigned or n_map != 2**bits or (bits > 8 and n_more)):
        yield f"has a palette of {n_map} colours for {bits} bits, {n_more} samples more"


def _divided(colours: Samples, alpha: Samples, most: Any) -> Samples:
    """Colours by alpha, 0 where that is 0; whole numbers up to 16 bits are rounded and bounded."""
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(alpha == 0, 0, colours.astype(np.float64) * most / alpha)
    if pixel_type(colours.dtype) != "float32":
        values = np.rint(values.clip(0, most)).astype(colours.dtype)
    return values


def _invert(page: Any, colours: Samples, most: Any) -> Samples:
    """The greatest value less each; of signed ones -1 less each."""
    return np.asarray(colours ^ colours.dtype.type(most))


def _look_up(page: Any, colours: Samples, most: Any) -> Samples:
    """A palette's colours of 16 bits, as 8; one of greys gives one channel."""
    table = np.array(page.tags.valueof(_COLOUR_MAP), np.uint16).reshape(3, -1).T
    table = (table >> 8 if table.max() > 255 else table).astype(np.uint8)  # some write 8 bits
    table = table[:, :1] if (table == table[:, :1]).all() else table
    return np.asarray(table[colours[..., 0].astype(np.intp)])


def _from_lab(page: Any, colours: Samples, most: Any) -> Samples:
    if colours.dtype != np.float32:  # L over the range; a and b signed, of 8 bits and a fraction
        signed = colours[..., 1:].astype(f"i{colours.itemsize}") / 256.0 ** (colours.itemsize - 1)
        lightness = colours[..., :1] * np.float64(100 / most)
        colours = np.concatenate([lightness, signed], axis=-1, dtype=np.float32)
    return _by_vips(page, colours, "lab")


def _by_vips(page: Any, values: Samples, space: Any) -> Samples:
    """As sRGB of 8 bits, or of 16 as the values are; of CMYK by the profile, if there is one."""
    import pyvips

    name = space if space == "lab" else "cmyk"
    image = pyvips.Image.new_from_array(np.ascontiguousarray(values)).copy(interpretation=name)
    if profile := page.tags.valueof(_ICC_PROFILE):
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return np.asarray(image.colourspace("rgb16" if values.dtype == np.uint16 else "srgb").numpy())


_PAINTS = {  # what makes colours of samples, where they are not kept
    "MINISWHITE": _invert,
    "PALETTE": _look_up,
    "SEPARATED": _by_vips,
    "CIELAB": _from_lab,
}
