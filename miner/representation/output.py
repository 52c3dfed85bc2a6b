"""What a representation is shown as: arrays, files, parts, a sentence, a picture, and scores."""

import base64
import math
import operator
import os
import sys
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from miner.images.arrays import to_numpy
from miner.images.nodata import mask_of_array
from miner.images.pixel_format import TYPE_RANGES, PixelFormat, pixel_type
from miner.images.source import file_digest, inspect_image, open_image
from miner.representation.files import OVERVIEW_LEVEL, Track, write_mask, write_overview
from miner.representation.shard import SUFFIX, write_shard
from miner.representation.spec import MANIFEST, MASK, OVERVIEW, Manifest
from miner.signals.mask import Mask
from miner.signals.regions import slices, tiles, whole
from miner.signals.signal import ArraySignal, Signal, SourceSignal
from miner.support.errors import RepresentationError
from miner.support.run_files import is_of_run, own_files

if TYPE_CHECKING:
    from miner.representation.representation import Representation

_SHOWN_SIDE = 1024  # pixels of a picture in a notebook


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
        read: dict[str, Any] = {name: settings.get(name) for name in ("crop_px", "axes")}
        other = inspect_image(str(image), sys.maxsize, **read)
        if (other.n_channels, *other.sides) != shape:
            found = f"has {other.n_channels} channels of {other.sides} pixels"
            rule = f"what was fitted {shape[0]} of {shape[1:]}; name the image that was fitted"
            raise ValueError(f"{image}: {found}, and {rule}")
        read |= {"value_range": settings.get("range", "auto"), "like": format, "mask": mask}
        source = open_image(str(image), **read, nodata=settings.get("nodata", "auto"))
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


def save(shown: "Representation", folder: Path) -> Path:
    """Write shards, mask, overview and manifest; see `Representation.save`."""
    if is_of_run(folder / MANIFEST) or own_files(folder):
        raise RepresentationError(f"{folder}: is a run's; name another folder")
    if folder.exists() and not folder.is_dir():
        raise RepresentationError(f"{folder}: is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    before: set[str] = set()
    if (folder / MANIFEST).exists():
        known, apart = Manifest.read(folder).files, (MASK, OVERVIEW)
        own = {name for name in known if name.endswith(SUFFIX) or name in apart}
        before = {name for name in own if Path(name).name == name}
    after = {shard.file_name for found in shown.shards.values() for shard in found}
    after |= {name for name, one in ((MASK, shown.spec.mask), (OVERVIEW, shown.known)) if one}
    for path in (folder / name for name in sorted(after - before)):
        if os.path.lexists(path):
            raise RepresentationError(f"{path}: is of no representation here; name another folder")
    checksums = {
        level: {shard.file_name: write_shard(folder, shard).sha256 for shard in found}
        for level, found in shown.shards.items()
    }
    write_mask(folder, shown.spec.mask)
    overview = shown.known and write_overview(folder, shown.spec, shown.image(OVERVIEW_LEVEL))
    fit = {"report": shown.report, "settings": {"image": image_settings(shown)}}
    Manifest(shown.spec, checksums, fit, overview=overview or "").write(folder)
    for name in before - after:
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
    level = sum(max(sides) > 2 * _SHOWN_SIDE for sides in shown.spec.level_sides[:-1])
    image = shown.image(level, is_masked=True)
    rendered = image.read(whole(image.sides))[: shown.spec.pixel_format.n_shown]
    small = reduce_to_side(to_display(rendered.numpy()), _SHOWN_SIDE)
    return encoded(enlarge_to_screen(small))


def html(shown: "Representation") -> str:
    """The sentence and the picture for a notebook."""
    png = picture(shown)
    source = f"data:image/png;base64,{base64.b64encode(png or b'').decode()}"
    return f"<p>{describe(shown)}</p>" + (f'<img src="{source}" width="512">' if png else "")


def part(shown: "Representation", index: Any) -> np.ndarray:
    """`np.asarray(shown)[index]`, of which no more is rendered; `IndexError` for fancy ones."""
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
