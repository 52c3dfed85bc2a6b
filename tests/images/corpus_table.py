"""The table of TIFF: which cells there are, what each holds, and what is refused of it, and why."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyvips
from corpus import (
    BYTES,
    EXTRAS,
    FLOATS,
    IMAGES,
    KINDS,
    LAYOUTS,
    ODD,
    SIGNED,
    TYPES,
    UNKNOWN,
    UNSIGNED,
    Cell,
    draw_palette,
)

_LOSSLESS = ("NONE", "ADOBE_DEFLATE", "LZW", "ZSTD", "PACKBITS")
_MIXED = ((0, 1), (1, 1))
_ORDERS, _SOME = ("<", ">"), ("uint8", "uint16", "float32")
_READ = ("MINISWHITE", "MINISBLACK", "RGB", "PALETTE", "SEPARATED", "CIELAB")


def cells() -> list[Cell]:
    """All, each once."""
    return list(dict.fromkeys(cell for cell in _all() if not (cell.planar and cell.n_samples == 1)))


def _all() -> Iterator[Cell]:
    turns = itertools.cycle(itertools.product(_ORDERS, _LOSSLESS))  # 10, which no axis divides
    for kind, extra, type, (planar, tiled) in itertools.product(KINDS, EXTRAS, TYPES, LAYOUTS):
        order, codec = next(turns)
        is_light = kind in ("MINISBLACK", "RGB")
        is_read = kind in _READ and (is_light or (type not in ODD and extra not in _MIXED))
        is_read &= type not in ODD or (extra, kind) == ((), "MINISBLACK")
        if is_read or (extra, type) == ((), "uint16"):
            yield Cell(type, kind, extra, planar, tiled, codec, 1, order)
    for type, codec, predictor, (planar, tiled), order in itertools.product(
        TYPES, BYTES, (1, 2, 3), LAYOUTS, _ORDERS
    ):
        cell = Cell(type, "RGB", (), planar, tiled, codec, predictor, order)
        if type in _SOME or (type not in ODD and (predictor == 1 or _predicts(cell))):
            yield cell
    for type, codec, (planar, tiled) in itertools.product(_SOME, UNKNOWN, LAYOUTS):
        yield Cell(type, "RGB", (), planar, tiled, codec)
    for (codec, (_, _, types, counts)), kind, extra, (planar, tiled), order in itertools.product(
        IMAGES.items(), ("MINISBLACK", "MINISWHITE", "RGB", "YCBCR"), EXTRAS, LAYOUTS, _ORDERS
    ):
        for type in types:
            cell = Cell(type, kind, extra, planar, tiled, codec, 1, order)
            is_odd = kind == "YCBCR" and (extra, codec) != ((), "JPEG")
            is_odd |= codec == "LERC" and order == ">" and type not in _SOME
            if (1 if planar else cell.n_samples) in counts and not is_odd:
                yield cell


def covering(all_cells: list[Cell]) -> list[Cell]:
    """Some that have every pair of values of two axes that occurs in a cell."""
    chosen: list[Cell] = []
    seen: set[object] = set()
    for cell in all_cells:
        values = [(name, getattr(cell, name)) for name in cell.__dataclass_fields__]
        pairs = set(itertools.combinations(values, 2))
        if not pairs <= seen:
            chosen.append(cell)
            seen |= pairs
    return chosen


REASONS = {  # what a refusal says: whom it is for
    "raw sensor data": lambda cell: cell.kind in ("CFA", "LINEAR_RAW"),
    "of the photometric kind": lambda cell: cell.kind in ("MASK", "ICCLAB", "LOGL"),
    "samples of": lambda cell: cell.type in ("uint5", "uint24"),
    "complex": lambda cell: cell.type == "complex64",
    "compressed by": lambda cell: cell.codec in UNKNOWN
    or (cell.codec == "LERC" and cell.order == ">" and cell.bits > 8),
    "has predictor": lambda cell: cell.predictor > 1 and not _predicts(cell),
    "MinIsWhite": lambda cell: cell.kind == "MINISWHITE" and cell.type in FLOATS,
    "associated alpha": lambda cell: 1 in cell.extra and not _divides(cell),
    "YCbCr": lambda cell: cell.kind == "YCBCR" and (
        cell.codec != "JPEG" or cell.planar or cell.extra != ()
    ),
    "CMYK of": lambda cell: cell.kind == "SEPARATED" and not _is_whole(cell, 1, 2, 4, 8, 16),
    "CIELab of": lambda cell: cell.kind == "CIELAB" and not _is_whole(cell, 8, 16)
    and cell.type != "float32",
    "palette of": lambda cell: cell.kind == "PALETTE" and (
        cell.type not in UNSIGNED or cell.bits > 16 or (cell.bits > 8 and cell.extra != ())
    ),
}  # fmt: skip


MORE_REASONS: dict[str, tuple[Cell, dict[str, Any]]] = {  # with tags that no cell has
    "bits, format": (Cell("uint8", "RGB"), {"tag_258": ("H", [5, 6, 5])}),
    "lacks the tag 262": (Cell(), {"tag_262": None}),
    "other inks": (Cell(kind="SEPARATED"), {"tag_332": ("H", [2])}),
    "slices in a page": (Cell(), {"tag_32997": ("I", [2])}),
    "of them extra": (Cell(), {"tag_338": ("H", [0, 0])}),
    "strips or tiles": (Cell(), {"tag_279": ("I", [259]), "tag_273": ("I", [8])}),
}


def reasons(cell: Cell) -> list[str]:
    """Why a cell is refused; empty if it is read."""
    return [reason for reason, holds in REASONS.items() if holds(cell)]


def _predicts(cell: Cell) -> bool:
    is_whole = cell.bits in (8, 16, 32, 64)
    is_fit = cell.type in FLOATS if cell.predictor == 3 else is_whole
    return cell.codec not in ("NONE", "PACKBITS") and is_fit


def _divides(cell: Cell) -> bool:
    is_fit = cell.kind in ("MINISBLACK", "RGB") and cell.type not in SIGNED
    return is_fit and cell.extra.count(1) == 1


def _is_whole(cell: Cell, *bits: int) -> bool:
    return cell.type in UNSIGNED and cell.bits in bits


def pixels(cell: Cell, samples: np.ndarray) -> np.ndarray:
    """What the samples (H, W, S) mean, as uint8, uint16 or float32."""
    n, most = KINDS[cell.kind][1], 1
    if cell.type in UNSIGNED:
        most = 2**cell.bits - 1
        if cell.bits < 8:
            expanded = (samples.astype(np.uint16) * 255 // most).astype(np.uint8)
            samples = np.concatenate([samples[..., :n], expanded[..., n:]], axis=-1)
            if cell.kind != "PALETTE":
                samples, most = expanded, 255
    colours, others = samples[..., :n], samples[..., n:]
    if 1 in cell.extra:
        place = n + cell.extra.index(1)
        colours = divided(colours, samples[..., place : place + 1], most)
    if cell.kind == "MINISWHITE":
        colours = -1 - colours if cell.type in SIGNED else colours.dtype.type(most) - colours
    elif cell.kind == "PALETTE":
        colours = (draw_palette(cell) // 256).astype(np.uint8)[:, colours[..., 0]]
        colours = np.moveaxis(colours, 0, -1)
    elif cell.kind == "SEPARATED":
        target = "rgb16" if cell.type == "uint16" else "srgb"
        ink = pyvips.Image.new_from_array(np.ascontiguousarray(colours))
        colours = ink.copy(interpretation="cmyk").colourspace(target).numpy()
    elif cell.kind == "CIELAB":
        colours = srgb(lab(cell, colours))
    joined = np.concatenate([colours, others], axis=-1) if others.size else colours
    return joined if joined.dtype in (np.uint8, np.uint16) else joined.astype(np.float32)


def divided(colours: np.ndarray, alpha: np.ndarray, most: int) -> np.ndarray:
    """colour * most / alpha, and 0 where that is 0; halves are rounded to even numbers."""
    if colours.dtype not in (np.uint8, np.uint16):
        wide = colours.astype(np.longdouble) * np.longdouble(most)
        return np.where(alpha == 0, 0, wide / np.where(alpha == 0, 1, alpha)).astype(np.float32)
    product, by = colours.astype(np.int64) * most, np.maximum(alpha.astype(np.int64), 1)
    whole, rest = np.divmod(product, by)
    whole += (2 * rest > by) | ((2 * rest == by) & (whole % 2 == 1))
    return np.where(alpha == 0, 0, np.minimum(whole, most)).astype(colours.dtype)


def lab(cell: Cell, samples: np.ndarray) -> np.ndarray:
    """L of 0 to 100, a and b of -128 to 127, in 8 or 16 bits."""
    if cell.type == "float32":
        return samples.astype(np.float64)
    both = samples[..., 1:].astype(np.int64)
    both -= np.where(both >= 2 ** (cell.bits - 1), 2**cell.bits, 0)
    both = both / 256 ** (cell.bits / 8 - 1)
    return np.concatenate([samples[..., :1] * (100.0 / (2**cell.bits - 1)), both], axis=-1)


_AB_TO_XZ = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1]])


def srgb(values: np.ndarray) -> np.ndarray:
    """CIELab of the white of D65 as sRGB of 8 bits."""
    f = (values[..., :1] + 16) / 116 + (values * [0, 1 / 500, -1 / 200]) @ _AB_TO_XZ
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.95047, 1, 1.08883]
    linear = xyz @ np.linalg.inv(
        [[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]]
    )
    linear = linear.clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * curved).astype(np.uint8)


def is_read_by_libvips(cell: Cell) -> bool:
    """What libvips, which the product does not read TIFF by, is known to read rightly."""
    is_plain = not cell.planar or (cell.kind == "RGB" and not cell.tiled)
    is_kind = cell.kind in ("MINISBLACK", "RGB", "YCBCR") or (
        cell.kind == "MINISWHITE" and cell.type in UNSIGNED
    )
    is_kind |= cell.kind == "PALETTE" and not cell.extra and cell.bits <= 8
    if not cell.extra:  # else it converts them, too
        is_kind |= cell.kind == "SEPARATED" and cell.bits in (8, 16)
        is_kind |= cell.kind == "CIELAB" and cell.type in ("uint16", "float32")
    codecs = ("NONE", "LZW", "ADOBE_DEFLATE", "DEFLATE", "PACKBITS", "JPEG")
    is_type = cell.bits in (8, 16, 32) and cell.type != "float16"
    is_type |= cell.bits < 8 and cell.n_samples == 1
    return is_plain and is_kind and is_type and 1 not in cell.extra and cell.codec in codecs
