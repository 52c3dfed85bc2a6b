"""The pictures of a fit: its blocks, its error, and its quality over steps and time."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from miner.support.files import atomic_write
from miner.visual import display
from miner.visual.display import RGBImage, describe_level, level_colour

Boxes = NDArray[np.integer]  # `(n, 4)`: x0, y0, x1, y1 in full-resolution pixels, ends exclusive
_BOXES_AT_ONCE = 2**16
_SIDE_PER_LINE = 340  # a picture of so many pixels has outlines of one
_PERCENTILE = 99.9
_COMMON_RANGE = (0.25, 32.0)  # of errors in 1/255


def draw_blocks(
    image: NDArray[np.float32], levels: Mapping[int, Boxes], path: Path, sides: Sequence[int]
) -> None:
    """Draw which blocks each level needed over the dimmed image, as in arXiv 2202.03532, figure 4.

    Takes a `(C, H, W)` image of `sides` in the unit range, or a preview of it.
    """
    picture = display.enlarge_to_screen(display.to_display(image))
    rows = []
    for level in sorted(levels, reverse=True):
        count = len(levels[level])
        text = f"{describe_level(level)}: {count:,} block{'' if count == 1 else 's'}"
        rows.append((np.array([[_rgb(level)]], dtype=np.uint8), text))
    outlined = blocks_picture(picture, levels, sides)
    display.write_picture(path, display.with_legend(outlined, rows))


def blocks_picture(
    picture: RGBImage, levels: Mapping[int, Boxes], sides: Sequence[int]
) -> RGBImage:
    """Dim a picture of an image of `sides` (H, W) and outline in it the blocks of each level.

    Each level is inset by the width of all coarser ones, so that no outline covers another.
    """
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    canvas = cv2.addWeighted(picture, 0.2, grey, 0.3, 0).astype(np.uint8)
    height, width = canvas.shape[:2]
    scale = np.array([width / sides[1], height / sides[0]] * 2)
    end = np.array([width, height] * 2, dtype=np.int32)

    def placed(boxes: Boxes) -> Iterator[Boxes]:
        """The boxes in pixels of the canvas, in batches: a large image has millions."""
        for batch in np.array_split(boxes, len(boxes) // _BOXES_AT_ONCE + 1):
            yield np.rint(batch * scale).astype(np.int32).clip(0, end)

    largest = [
        max(int((batch[:, 2:] - batch[:, :2]).max()) for batch in placed(boxes))
        for boxes in levels.values()
        if len(boxes)
    ]
    fitting = min(largest, default=0) // (4 * len(levels))
    line = max(1, min(max(height, width) // _SIDE_PER_LINE, fitting))
    for rank, level in enumerate(sorted(levels, reverse=True)):
        for batch in placed(levels[level]):
            _outline(canvas, batch, rank * line, line, _rgb(level))
    return canvas


def _outline(
    canvas: RGBImage, boxes: Boxes, inset: int, line: int, colour: tuple[int, ...]
) -> None:
    """Outline boxes; small ones have a smaller inset."""
    sides = boxes[:, 2:] - boxes[:, :2]
    start = np.minimum(inset, (sides.min(axis=1, keepdims=True) - 1) // 3)
    for ring in range(line):
        low, high = boxes[:, :2] + start + ring, boxes[:, 2:] - start - ring - 1
        is_visible = (low <= high).all(axis=1)
        (x0, y0), (x1, y1) = low[is_visible].T, high[is_visible].T
        corners = np.stack([x0, y0, x1, y0, x1, y1, x0, y1], axis=1).reshape(-1, 4, 2)
        cv2.polylines(canvas, list(corners), isClosed=True, color=colour)


def _rgb(level: int) -> tuple[int, ...]:
    return tuple(bytes.fromhex(level_colour(level)[1:]))


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
    levels = sorted({int(level) for level in curve["level"]}, reverse=True)
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
