"""A representation in a notebook and to NumPy: a sentence, a picture, and parts of an array."""

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from miner.representation.representation import Representation

_SHOWN_SIDE = 1024  # pixels of a picture in a notebook


def describe(shown: "Representation") -> str:
    """Sizes, type, range, levels, blocks, parameters, bits a pixel and, if it is known, PSNR."""
    spec = shown.spec
    blocks = [len(shown.active_blocks(level)) for level in reversed(range(spec.n_levels))]
    parts = [
        spec.pixel_format.describe(spec.sides),
        f"levels of {' + '.join(map(str, blocks))} blocks, coarse to fine, of {spec.patch_size} "
        "pixels a side",
        f"{shown.n_parameters} parameters",
        f"{shown.bits_per_pixel:.3f} bits a pixel",
    ]
    if shown.psnr_db is not None:
        parts.append(f"PSNR {shown.psnr_db:.2f} dB")
    return f"Representation({', '.join(parts)})"


def picture(shown: "Representation") -> bytes | None:
    """The image as a PNG file of the size of a screen; None for a volume."""
    from miner.visual.display import encoded, enlarge_to_screen, reduce_to_side, to_display

    if len(shown.spec.sides) != 2:
        return None
    sides, level = shown.spec.level_sides, 0
    while max(sides[level]) > 2 * _SHOWN_SIDE and level < len(sides) - 1:
        level += 1
    small = reduce_to_side(to_display(shown.reconstruct(level).clamp_(0, 1).numpy()), _SHOWN_SIDE)
    return encoded(enlarge_to_screen(small), ".png")


def part(shown: "Representation", index: Any) -> np.ndarray:
    """`np.asarray(shown)[index]` for whole numbers, slices and `...`; an `IndexError` for others.

    The box that holds it is rendered.
    """
    keys, shape = list(index) if isinstance(index, tuple) else [index], shown.shape
    dots = [at for at, key in enumerate(keys) if key is ...] or [len(keys)]
    keys[dots[0] : dots[0] + 1] = [slice(None)] * (len(shape) - sum(key is not ... for key in keys))
    if len(keys) != len(shape) or not all(isinstance(key, slice | Integral) for key in keys):
        rule = f"must be whole numbers, slices and ... for {len(shape)} axes, channels first"
        raise IndexError(f"index {index}: {rule}; np.asarray(rep) takes others")
    picked = [np.arange(side)[key] for key, side in zip(keys, shape, strict=True)]
    spans = [(one.min(), one.max() + 1) if one.size else (0, 1) for one in picked]
    values: np.ndarray = shown.render(0, tuple(spans[1:]))
    for axis in reversed(range(len(shape))):
        values = values.take(picked[axis] - (spans[axis][0] if axis else 0), axis)
    return values
