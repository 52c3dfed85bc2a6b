"""The pictures of a fit: its blocks, its error, and its quality over steps and time."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from miner.support.files import atomic_write
from miner.visual import display
from miner.visual.display import RGBImage, describe_level, level_colour

Widths = NDArray[np.integer]  # `(rows, columns)` of a level's blocks; 0 where none has a network
_PALEST = 0.5  # how much of its level's colour the narrowest network has
_N_SHADES = 5  # in a row of the legend
_LINED_SIDE = 8  # pixels of a block, at least, that has lines around it
_SCREEN = 16 / 9
_PERCENTILE = 99.9
_COMMON_RANGE = (0.25, 32.0)  # of errors in 1/255


def draw_blocks(
    image: NDArray[np.float32], widths: Sequence[Widths], side: float, path: Path
) -> None:
    """Draw an image and the map of its blocks, as in arXiv 2202.03532, figure 4, with a legend.

    Takes `(C, H, W)` in the unit range, NaN where it has no data, and the `widths` and `side` of
    `blocks_picture`. The map is beside the image, or below one that is wider than a screen.
    """
    picture = display.enlarge_to_screen(display.to_display(image))
    height, width = picture.shape[:2]
    values = display.enlarge_to_screen(image[0])
    blocks = blocks_picture(values, widths, side * height / image.shape[1])
    frame, gap = ((2, 2), (2, 2), (0, 0)), [(0, 0), (0, 0), (0, 0)]
    both = [np.pad(one, frame, constant_values=128) for one in (picture, blocks)]
    axis = int(width < _SCREEN * height)
    gap[axis] = (0, max(height, width) // 40)
    both[0] = np.pad(both[0], gap, constant_values=255)
    rows = []
    for level, shades in reversed(list(enumerate(_shades(widths)))):
        own = widths[level][widths[level] > 0]
        if len(own):
            ends = int(own.min()), int(own.max())
            bar = shades[np.geomspace(*ends, _N_SHADES).round().astype(int)][None]
            span = " to ".join(map(str, dict.fromkeys(ends)))
            text = f"{len(own):,} block{'' if len(own) == 1 else 's'}, width {span}"
            rows.append((bar, f"{describe_level(level)}: {text}"))
    rows = rows or [(np.full_like(picture[:1, :1], 255), "no block has a network")]
    display.write_picture(path, display.with_legend(np.concatenate(both, axis=axis), rows))


def blocks_picture(values: NDArray[np.float32], widths: Sequence[Widths], side: float) -> RGBImage:
    """Fill each region of an image with the colour of the finest level that has a network there.

    Takes a channel `(H, W)`, the widths of each level's networks, fine to coarse, and the pixels
    along a block of level 0. Wider networks have stronger colours. White are NaN, what has no
    network, and lines between blocks that are large enough to have them.
    """
    counts = widths[0].shape
    colours: RGBImage = np.full((*counts, 3), 255, dtype=np.uint8)
    owners = np.zeros(counts, dtype=np.int64)
    for level, shades in reversed(list(enumerate(_shades(widths)))):
        within = np.ix_(*(np.arange(count) >> level for count in counts))
        own, is_lined = widths[level][within], side * 2**level >= _LINED_SIDE
        blocks = np.arange(widths[level].size).reshape(widths[level].shape)[within]
        owners = np.where(own > 0, len(widths) * is_lined * blocks + level + 1, owners)
        colours = np.where(own[..., None] > 0, shades[own], colours)
    rows, columns = (  # the last pixel of a preview may be centred beyond the image
        ((np.arange(n) + 0.5) / side).astype(int).clip(max=count - 1)
        for n, count in zip(values.shape, counts, strict=True)
    )
    picture: RGBImage = colours[:, columns][rows]
    ways = (picture, owners, columns, rows), (picture.swapaxes(0, 1), owners.T, rows, columns)
    for canvas, numbers, across, along in ways:
        last = np.flatnonzero(np.diff(across))  # of each block's pixels
        is_line = numbers[:, across[last]] != numbers[:, across[last + 1]]
        canvas[:, last] = np.where(is_line[along, :, None], 255, canvas[:, last])
    picture[np.isnan(values)] = 255
    return picture


def _shades(widths: Sequence[Widths]) -> list[RGBImage]:
    """Each level's colours by width, `(widest + 1, 3)`; all levels have one scale."""
    found = [own[own > 0] for own in widths if own.any()] or [np.ones(1, dtype=np.int64)]
    narrowest, widest = min(int(own.min()) for own in found), max(int(own.max()) for own in found)
    span = math.log(widest / narrowest) or 1.0
    strength = 1 - (1 - _PALEST) * np.log(widest / np.arange(widest + 1).clip(narrowest)) / span
    colours = [list(bytes.fromhex(level_colour(level)[1:])) for level in range(len(widths))]
    lost = [np.outer(strength, 255 - np.array(colour)) for colour in colours]
    return [np.rint(255 - one).astype(np.uint8) for one in lost]


def draw_error(squared_error: NDArray[np.float32], path: Path, psnr_db: float) -> None:
    """Draw the absolute error, RMS over channels, with a colour bar in 1/255 of the data's range.

    Takes the squared error of each pixel `(H, W)`, mean over channels; NaN is white. Colours end at
    the 99.9th percentile.
    """
    error = display.enlarge_to_screen(_root(squared_error))
    largest = float(np.nanmax(error))
    limit = float(np.nanpercentile(error, _PERCENTILE)) or largest or 1.0
    bar = _inferno(np.linspace(0, 1, 256, dtype=np.float32)[None])
    white = np.full((1, 1, 3), 255, dtype=np.uint8)
    rows = [
        (white, f"absolute error in 1/255 of the range, RMS over channels; PSNR {psnr_db:.2f} dB"),
        (bar, f"0 to {limit:.3g} ({_PERCENTILE}th percentile); largest {largest:.3g}"),
    ]
    picture = _inferno(error / np.float32(limit))
    display.write_picture(path, display.with_legend(picture, rows))


def error_picture(squared_error: NDArray[np.float32], side: int) -> RGBImage:
    """Draw the RMS of `(H, W)` squared errors, at most `side` pixels a side.

    Colours are comparable between images: logarithmic from 0.25/255 (black) to 32/255. NaN is
    white.
    """
    error = _root(display.reduce_to_side(np.nan_to_num(squared_error), side))
    error[display.reduce_to_side(np.isnan(squared_error).astype(np.float32), side) == 1] = np.nan
    low, high = np.log(_COMMON_RANGE)
    return _inferno((np.log(np.maximum(error, _COMMON_RANGE[0])) - low) / (high - low))


def _root(squared_error: NDArray[np.float32]) -> NDArray[np.float32]:
    return cast(NDArray[np.float32], 255 * np.sqrt(squared_error))


def _inferno(values: NDArray[np.floating]) -> RGBImage:
    """Colour `(H, W)` values from 0, black, to 1 and above, light yellow; NaN is white."""
    grey = np.rint(255 * np.nan_to_num(values).clip(0, 1)).astype(np.uint8)
    colours = cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.where(np.isnan(values)[..., None], np.uint8(255), colours).astype(np.uint8)


def draw_curves(curve: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw PSNR against a level's steps and against seconds, in colours, from a report's curve.

    Refits are dotted. The finest level decides the range of PSNR, which others may leave.
    """
    from matplotlib.figure import Figure

    columns = {name: np.asarray(column) for name, column in curve.items()}
    is_fitted = np.isfinite(columns["psnr_db"].astype(float))
    levels = sorted({int(level) for level in columns["level"][is_fitted]}, reverse=True)
    height = 4.0 + 0.24 * math.ceil(len(levels) / 2)
    figure = Figure(figsize=(10, height), dpi=150, facecolor="white")
    bottom = (0.75 + height - 4) / height  # below: the axes' labels and the legend
    margins = {"left": 0.07, "right": 0.99, "top": 0.97, "bottom": bottom, "wspace": 0.03}
    panels = figure.subplots(1, 2, sharey=True, gridspec_kw=margins)
    for level in levels:
        own = {name: column[columns["level"] == level] for name, column in columns.items()}
        own["step"] = own["step"] - own["step"][0]
        _draw_level(panels, level, own)
    for axes, label in zip(panels, ("steps of a level", "time (s)"), strict=True):
        is_dotted = np.any(columns["refit"])
        axes.set(xlabel=f"{label}; dotted where blocks are fitted again" if is_dotted else label)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set(ylabel="PSNR (dB)")
    is_finest = np.isfinite(columns["psnr_db"]) & (columns["level"] == min(levels, default=0))
    if is_finest.any():
        shown = columns["psnr_db"][is_finest]
        margin = max(0.5, 0.05 * float(np.ptp(shown)))
        panels[0].set(ylim=(shown.min() - margin, shown.max() + margin))
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=2, frameon=False)
    with atomic_write(path) as scratch:
        figure.savefig(scratch, format="png", pil_kwargs={"compress_level": 1})


def _draw_level(panels: Iterable[Any], level: int, columns: Mapping[str, NDArray[Any]]) -> None:
    """Draw a level's curve into panels over steps and seconds: first fits, then refits."""
    quality, n_first = columns["psnr_db"], int(np.sum(columns["refit"] == 0))
    text = f"{describe_level(level)}: {quality[-1]:.2f} dB, {int(columns['parameters'][-1]):,} "
    style: dict[str, Any] = {"color": level_colour(level)}
    if np.isfinite(quality).sum() == 1:  # a line of one point is invisible
        style["marker"] = "o"
    for axes, name in zip(panels, ("step", "seconds"), strict=True):
        x, y = columns[name], np.where(np.isfinite(quality), quality, np.nan)
        axes.plot(x[:n_first], y[:n_first], label=f"{text}parameters so far", **style)
        axes.plot(x[n_first - 1 :], y[n_first - 1 :], linestyle=":", **style)
