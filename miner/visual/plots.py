"""Quality curves and the error map of a fit."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from miner.support.files import atomic_write
from miner.visual.display import (
    RGBImage,
    describe_level,
    enlarge_to_screen,
    level_colour,
    reduce_to_side,
    with_legend,
    write_picture,
)

_PERCENTILE = 99.9
_COMMON_RANGE = (0.25, 32.0)  # of errors in 1/255


def draw_curves(curve: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw PSNR against steps and against seconds, one colour per level, coarse to fine.

    Takes the columns `level`, `step`, `seconds`, `parameters` and `psnr_db` of a report, of one
    length; points whose PSNR is not finite are left out.
    """
    from matplotlib.figure import Figure

    columns = {name: np.asarray(column) for name, column in curve.items()}
    levels = sorted({int(level) for level in curve["level"]}, reverse=True)
    height = 4.0 + 0.24 * math.ceil(len(levels) / 2)
    figure = Figure(figsize=(10, height), dpi=150, layout="constrained", facecolor="white")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, name, label in zip(panels, ("step", "seconds"), ("steps", "time (s)"), strict=True):
        for level in levels:
            is_level = columns["level"] == level
            is_shown = is_level & np.isfinite(columns["psnr_db"])
            n_parameters = int(columns["parameters"][is_level][-1])
            axes.plot(
                columns[name][is_shown],
                columns["psnr_db"][is_shown],
                color=level_colour(level),
                marker="o" if is_shown.sum() == 1 else None,  # a line of one point is invisible
                label=f"{describe_level(level)}: {n_parameters:,} parameters so far",
            )
        axes.set(xlabel=label)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set(ylabel="PSNR (dB)")
    if levels:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    with atomic_write(path) as scratch:
        figure.savefig(scratch, format="png")


def draw_error(squared_error: NDArray[np.float32], path: Path, psnr_db: float) -> None:
    """Draw the absolute error, RMS over channels, with a colour bar in 1/255 of full range.

    Takes the squared error of each pixel `(H, W)`, mean over channels, or a preview of it; NaN
    counts as full error. Colours end at the 99.9th percentile, and the largest error is stated.
    """
    error = enlarge_to_screen(_root(squared_error))
    largest = float(error.max())
    limit = float(np.percentile(error, _PERCENTILE)) or largest or 1.0
    bar = _inferno(np.linspace(0, 1, 256, dtype=np.float32)[None])
    white = np.full((1, 1, 3), 255, dtype=np.uint8)
    rows = [
        (white, f"absolute error in 1/255 of full range, RMS over channels; PSNR {psnr_db:.2f} dB"),
        (bar, f"0 to {limit:.3g} ({_PERCENTILE}th percentile); largest {largest:.3g}"),
    ]
    write_picture(path, with_legend(_inferno(error / np.float32(limit)), rows))


def error_picture(squared_error: NDArray[np.float32], side: int) -> RGBImage:
    """Draw the RMS of `(H, W)` squared errors, at most `side` pixels a side.

    Colours are the same for every image, so that pictures can be compared: black for a quarter of
    1/255 of full range or less, the brightest for 32/255 or more, logarithmic between.
    """
    error = _root(reduce_to_side(squared_error, side))
    low, high = np.log(_COMMON_RANGE)
    scaled = (np.log(np.maximum(error, _COMMON_RANGE[0])) - low) / (high - low)
    return _inferno(scaled.astype(np.float32))


def _root(squared_error: NDArray[np.float32]) -> NDArray[np.float32]:
    """The error in 1/255 of full range."""
    return cast(NDArray[np.float32], 255 * np.sqrt(np.nan_to_num(squared_error, nan=1)))


def _inferno(values: NDArray[np.float32]) -> RGBImage:
    """Colour `(H, W)` values from 0, black, to 1 and above, light yellow."""
    grey = np.rint(255 * values.clip(0, 1)).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO)[..., ::-1], dtype=np.uint8)
