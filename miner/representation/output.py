"""What a representation is shown as: arrays, files, parts, a sentence, a picture, and scores."""

import base64
import math
import operator
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from miner.images.arrays import to_numpy
from miner.images.encode import PixelCanvas, check_writable_format
from miner.images.nodata import mask_of_array
from miner.images.pixel_format import TYPE_RANGES, PixelFormat, pixel_type
from miner.images.source import file_digest, inspect_image, open_image
from miner.representation.mask_file import MASK, write_mask
from miner.representation.masking import ValidIn, masked_image, valid_pixels
from miner.representation.shard import shards_before, write_shard
from miner.representation.spec import MANIFEST, Manifest, read_manifest, write_manifest
from miner.signals.mask import Mask
from miner.signals.regions import Region, slices, tiles, whole
from miner.signals.scratch import IN_MEMORY_BYTES, Scratch, n_bytes
from miner.signals.signal import ArraySignal, Signal, SourceSignal
from miner.support.errors import RepresentationError
from miner.support.run_files import is_of_run, own_files

if TYPE_CHECKING:
    from miner.representation.representation import Representation

_SHOWN_SIDE = 1024  # pixels of a picture in a notebook
Track = Callable[[Sequence[Region]], Iterable[Region]]
"""Goes through tiles and may show how far it is."""


def size_of(
    sides: tuple[int, ...], scale: float | None, size: Sequence[int] | None
) -> tuple[int, ...]:
    """Sides of an image at a scale or a size, of which one may be given; `ValueError` otherwise."""
    if scale is not None and size is not None:
        raise ValueError(f"scale={scale} and size={size}: give one of them")
    if scale is not None:
        if not 0 < scale < math.inf:
            raise ValueError(f"scale={scale}: must be above 0, as 2.5")
        size = [max(1, round(scale * side)) for side in sides]
    try:
        found = sides if size is None else tuple(map(operator.index, size))
    except TypeError:
        found = ()
    if len(found) != len(sides) or not 1 <= min(found) <= max(found) < 2**31:
        rule = f"must be {len(sides)} sides of 1 to 2^31 - 1 pixels, rows first"
        raise ValueError(f"size={size!s:.80}: {rule}")
    return found


def signal_of(shown: "Representation", image: ArrayLike | str | Path) -> tuple[Signal, Mask | None]:
    """A file, or an array `(C, *S)`, `(*S, C)` or, of one channel, `S`, in the unit range.

    A file is read by a run's settings of its image; an array has the values of the source, or those
    that `Representation.render` gives. The mask is of pixels that are data in both. Raises
    `ValueError` for another shape or type.
    """
    shape, format, mask = shown.shape, shown.spec.pixel_format, shown.spec.mask
    if isinstance(image, str | Path):
        settings = image_settings(shown)
        crop_px, axes = settings.get("crop_px"), settings.get("axes")
        other = inspect_image(str(image), sys.maxsize, crop_px, axes)
        if (other.n_channels, *other.sides) != shape:
            raise ValueError(
                f"{image}: has {other.n_channels} channels of {other.sides} pixels, and what was "
                f"fitted {shape[0]} of {shape[1:]}; name the image that was fitted"
            )
        read = settings.get("range", "auto"), format, settings.get("nodata", "auto"), mask
        source = open_image(str(image), sys.maxsize, crop_px, Scratch(None), axes, *read)
        return SourceSignal(source.read, source.n_channels, source.sides), source.mask
    array = to_numpy(image)
    if array.shape != shape and array.shape == (*shape[1:], shape[0]):
        array = np.moveaxis(array, -1, 0)
    if array.shape not in (shape, shape[shape[0] == 1 :]):
        raise ValueError(f"image of shape {array.shape}: must be {shape}, or channels last")
    array = array * np.uint8(255) if array.dtype.kind == "b" else array
    if pixel_type(array.dtype) != format.dtype and array.dtype.kind != "f":
        rule = f"must be of {format.dtype}, or of floats as rendered"
        raise ValueError(f"image of {array.dtype}: {rule}")
    array = array.reshape(shape)
    if (is_missing := np.isnan(array).all(0)).any():  # as in what is rendered
        own = mask_of_array(~is_missing, shape[1:])
        mask, array = own & mask if mask else own, np.where(is_missing, 0, array)
    is_rendered = array.dtype.kind == "f" and format.dtype != "float32"
    if is_rendered and not ((array >= 0) & (array <= 1)).all():
        found = f"values from {array.min()} to {array.max()}"
        raise ValueError(f"{found}: floats must lie in [0, 1], or give {format.dtype}")
    values = array * TYPE_RANGES[format.dtype][1] if is_rendered else array
    return ArraySignal(format.to_unit(values)), mask


def fill(
    out: np.ndarray | None, image: Signal, format: PixelFormat, track: Track = iter
) -> np.ndarray:
    """Copy an image `(C, *S)`, in values for people, into an array; `ValueError` if it is unfit."""
    shape = (image.n_channels, *image.sides)
    out = np.empty(shape, np.float32) if out is None else out
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype.kind != "f":
        kind = f"{getattr(out, 'dtype', type(out).__name__)} {tuple(getattr(out, 'shape', ()))}"
        raise ValueError(f"out of {kind}: must be an array of NumPy of floats, {shape}, or a path")
    for box in track(list(tiles(image.sides))):
        out[(slice(None), *slices(box))] = format.to_values(image.read(box)).cpu().numpy()
    return out


def check_out(path: Path, shown: "Representation") -> None:
    """Refuse, by a `ValueError`, to overwrite the fitted image, or a file that a run has made."""
    fitted, settings = shown.fit.get("image", {}), image_settings(shown)
    is_fitted = path.exists() and path.resolve() == Path(fitted.get("path", "")).resolve()
    if path.is_file() and not is_fitted:  # else it may be a copy, or have another name
        known = fitted.get("sha256"), (shown.report or {}).get("image_sha256"), settings.get("mask")
        is_fitted = file_digest(path) in known
    if is_fitted or is_of_run(path):
        rule = "is the image or mask that was fitted, or a run's"
        raise ValueError(f"{path}: {rule}; name another file")


def image_settings(shown: "Representation") -> dict[str, Any]:
    """How the image was read that was fitted."""
    found: dict[str, Any] = shown.fit.get("settings", {}).get("image", {})
    return found


def write_image(
    path: Path,
    image: Signal,
    format: PixelFormat,
    track: Track = iter,
    valid: ValidIn | None = None,
) -> Path:
    """Write an image as the suffix of a file demands, in the format's bit depth and range.

    Where it is not `valid` it gets the no-data value; see `with_nodata`. One of more than
    `IN_MEMORY_BYTES` is assembled in a scratch file in the folder of `path`. Raises `ImageError`
    for a suffix that does not suit the image, or an unwritable file; `ValueError` for a volume.
    """
    if len(image.sides) != 2:
        raise ValueError(f"a volume of {len(image.sides)} axes: only images are rendered to files")
    check_writable_format(path, format, *image.sides)
    size = n_bytes((*image.sides, image.n_channels), format.written)
    folder = path.with_name(f".{path.name}.{os.getpid()}.scratch")
    with Scratch(None if size <= IN_MEMORY_BYTES else folder) as scratch:
        canvas = PixelCanvas(format, image.sides, scratch)
        for box in track(list(tiles(image.sides))):
            canvas.fill(box, image.read(box).clamp(0, 1).cpu().numpy(), valid and valid(box))
        return canvas.save(path)


def save(shown: "Representation", folder: Path) -> Path:
    """Write shards, mask, overview and manifest; see `Representation.save`."""
    from miner.representation.overview import LEVEL, OVERVIEW, write_overview  # which imports us

    if is_of_run(folder / MANIFEST) or own_files(folder):
        raise RepresentationError(f"{folder}: is a run's; name another folder")
    if folder.exists() and not folder.is_dir():
        raise RepresentationError(f"{folder}: is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    before = shards_before(folder, shown.shards)
    own = read_manifest(folder) if (folder / MANIFEST).exists() else None
    had = {MASK: own and own.mask, OVERVIEW: own and own.overview}
    has = {MASK: shown.spec.mask, OVERVIEW: shown.known}
    for path in (folder / name for name in had if has[name] and not had[name]):
        if os.path.lexists(path):
            raise RepresentationError(f"{path}: is of no representation; name another folder")
    checksums = {
        level: {shard.file_name: write_shard(folder, shard).sha256 for shard in found}
        for level, found in shown.shards.items()
    }
    write_mask(folder, shown.spec.mask)
    overview = write_overview(folder, shown.spec, shown.image(LEVEL)) if shown.known else ""
    fit = {"report": shown.report, "settings": {"image": image_settings(shown)}}
    write_manifest(folder, Manifest(shown.spec, checksums, fit, overview=overview))
    before |= {name for name in had if had[name] and not has[name]}
    for name in before.difference(*checksums.values()):
        (folder / name).unlink(missing_ok=True)
    return folder


def describe(shown: "Representation") -> str:
    """Sizes, type, range, levels, blocks, parameters, bits a pixel and, where it is known, PSNR."""
    spec = shown.spec
    blocks = [len(shown.active_blocks(level)) for level in reversed(range(spec.n_levels))]
    parts = [
        spec.pixel_format.describe(spec.sides, spec.mask),
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
    box = whole(sides[level])
    valid = valid_pixels(shown.spec, level, box, sides[level])
    rendered = masked_image(shown.image(level), valid).read(box)[: shown.spec.pixel_format.n_shown]
    small = reduce_to_side(to_display(rendered.clamp_(0, 1).numpy()), _SHOWN_SIDE)
    return encoded(enlarge_to_screen(small), ".png")


def html(shown: "Representation") -> str:
    """The sentence and the picture for a notebook."""
    png = picture(shown)
    source = f"data:image/png;base64,{base64.b64encode(png or b'').decode()}"
    return f"<p>{describe(shown)}</p>" + (f'<img src="{source}" width="512">' if png else "")


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
