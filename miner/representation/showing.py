"""A representation in a notebook and to NumPy: a sentence, a picture, and parts of an array."""

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from miner.representation.representation import Representation

_SHOWN_SIDE = 1024  # pixels of a picture in a notebook


def describe(shown: "Representation") -> str:
    """Sizes, levels, blocks, parameters, bits a pixel and, where it is known, PSNR."""
    spec = shown.spec
    blocks = [len(shown.active_blocks(level)) for level in reversed(range(spec.n_levels))]
    parts = [
        f"{' x '.join(map(str, spec.sides))} pixels",
        f"{spec.n_channels} channels",
        f"{spec.n_levels} levels with {' + '.join(map(str, blocks))} blocks, coarse to fine, of "
        f"{spec.patch_size} pixels a side",
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
    small = reduce_to_side(to_display(shown.render(level)), _SHOWN_SIDE)
    return encoded(enlarge_to_screen(small), ".png")


def part(shown: "Representation", index: Any) -> np.ndarray:
    """`np.asarray(shown)[index]` for whole numbers, slices and `...`, of which no more is rendered
    than the box that holds it; an `IndexError` for others."""
    ranges = list(_ranges(index, shown.shape))
    spans = [one if isinstance(one, range) else range(one, one + 1) for one in ranges]
    if not all(spans):
        return np.empty([len(one) for one in ranges if isinstance(one, range)], np.float32)
    lows = [min(span[0], span[-1]) for span in spans]
    ends = [max(span[0], span[-1]) + 1 for span in spans]
    values: np.ndarray = shown.render(0, tuple(zip(lows[1:], ends[1:], strict=True)))
    values = values[lows[0] : ends[0]]
    for axis, (one, low) in reversed(list(enumerate(zip(ranges, lows, strict=True)))):
        values = values.take(np.array(one) - low, axis)
    return values


def _ranges(index: Any, shape: tuple[int, ...]) -> Iterator[range | int]:
    """What an index takes of each axis."""
    keys = list(index) if isinstance(index, tuple) else [index]
    dots = [at for at, key in enumerate(keys) if key is ...] or [len(keys)]
    n_missing = len(shape) - sum(key is not ... for key in keys)
    keys[dots[0] : dots[0] + 1] = [slice(None)] * n_missing
    if len(keys) != len(shape):
        raise IndexError(f"{len(keys)} indices, of {len(shape)} axes: channel, rows, columns")
    for key, side in zip(keys, shape, strict=True):
        try:
            number = key if isinstance(key, slice) else operator.index(key)
            yield range(side)[number]
        except (TypeError, IndexError):
            rule = f"must be a whole number in an axis of {side}, a slice or ..."
            raise IndexError(f"{key!r}: {rule}; np.asarray(rep) takes others") from None
