"""Plots of a fit: quality curves and the error map."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from miner.visual.display import (
    LEGEND_ROW_INCHES,
    describe_level,
    enlarge_to_screen,
    level_colour,
    picture_figure,
    reduce_to_side,
    save_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class LevelCurve:
    """Quality while one pyramid level was fitted, as arrays of one length.

    `step`, `seconds` and `parameters` (count) run on over the levels, coarse to fine;
    `psnr_db` may hold values that are not finite, which are not drawn. Raises `ValueError` if
    the lengths differ.
    """

    level: int
    step: NDArray[np.integer]
    seconds: NDArray[np.floating]
    parameters: NDArray[np.integer]
    psnr_db: NDArray[np.floating]

    def __post_init__(self) -> None:
        lengths = [len(a) for a in (self.step, self.seconds, self.parameters, self.psnr_db)]
        if len(set(lengths)) != 1:
            raise ValueError(f"step, seconds, parameters, psnr_db have lengths {lengths}")


def draw_curves(curves: Sequence[LevelCurve], path: Path) -> None:
    """Draw PSNR against steps and against seconds, one colour per level, coarse to fine."""
    from matplotlib.figure import Figure

    ordered = sorted(curves, key=lambda curve: curve.level, reverse=True)
    height = 4.0 + LEGEND_ROW_INCHES * math.ceil(len(ordered) / 2)
    figure = Figure(figsize=(10, height), dpi=150, layout="constrained", facecolor="white")
    by_step, by_time = figure.subplots(1, 2, sharey=True)
    for curve in ordered:
        _plot_curve(by_step, curve, curve.step)
        _plot_curve(by_time, curve, curve.seconds)
    by_step.set(xlabel="steps", ylabel="PSNR (dB)")
    by_time.set(xlabel="time (s)")
    handles, labels = by_step.get_legend_handles_labels()
    if ordered:
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    save_png(figure, path)


def _plot_curve(axes: "Axes", curve: LevelCurve, x: NDArray[np.number]) -> None:
    finite = np.isfinite(curve.psnr_db)
    label = describe_level(curve.level)
    if len(curve.parameters):
        label += f" · {int(curve.parameters[-1]):,} parameters so far"
    axes.plot(
        x[finite],
        curve.psnr_db[finite],
        color=level_colour(curve.level),
        marker="o" if finite.sum() == 1 else None,  # a line through one point would not show
        label=label,
    )
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


_PERCENTILE = 99.9


_COMMON_RANGE = (0.25, 32.0)  # of errors in 1/255


def draw_error(squared_error: NDArray[np.float32], path: Path, psnr_db: float) -> None:
    """Draw the absolute error, RMS over channels, with a colour bar in 1/255 of full range.

    Takes `(H, W)`, as `square_error` gives it or a preview of that. Colours end at the 99.9th
    percentile, and the largest error is stated.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    error = 255 * np.sqrt(enlarge_to_screen(squared_error))
    limit, largest = _robust_limit(error)
    scale = ScalarMappable(Normalize(0, limit, clip=True), colormaps["inferno"])
    picture = scale.to_rgba(error, bytes=True)[..., :3]
    figure = picture_figure(picture, head_inches=0.45, foot_inches=0.85, min_width_inches=5.0)
    width, height = figure.get_size_inches()
    figure.text(
        0.5,
        1 - 0.22 / height,
        f"Absolute error, PSNR {psnr_db:.2f} dB".replace("inf", "∞"),
        ha="center",
        va="center",
        fontsize=12,
    )
    bar_axes = figure.add_axes((0.5 - 2.4 / width, 0.6 / height, 4.8 / width, 0.13 / height))
    bar = figure.colorbar(
        scale,
        cax=bar_axes,
        orientation="horizontal",
        extend="max" if largest > limit else "neither",
    )
    bar.set_label(
        f"RMS over channels, 1/255 of full range; "
        f"{_PERCENTILE}th percentile {limit:.3g}, largest {largest:.3g}",
        fontsize=9,
    )
    save_png(figure, path)


def error_picture(squared_error: NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    """Draw the RMS of `(H, W)` squared errors as `(H, W, 3)`, at most `side` pixels a side.

    Colours are the same for every image, so that pictures can be compared: black for a quarter of
    1/255 of full range or less, the brightest for 32/255 or more, logarithmic between.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    error = 255 * np.sqrt(reduce_to_side(squared_error, side))
    scale = ScalarMappable(LogNorm(*_COMMON_RANGE, clip=True), colormaps["inferno"])
    picture: NDArray[np.uint8] = scale.to_rgba(np.maximum(error, _COMMON_RANGE[0]), bytes=True)
    return picture[..., :3]


def square_error(
    source: NDArray[np.float32], reconstruction: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Give the squared error `(H, W)`, mean over channels; NaN counts as full error.

    Takes two `(C, H, W)` images, the source in the unit range; the reconstruction is clipped to
    it. Raises `ValueError` if the shapes differ.
    """
    if source.shape != reconstruction.shape or source.ndim != 3:
        raise ValueError(
            f"source {source.shape} and reconstruction {reconstruction.shape} "
            "must have the same shape (C, H, W)"
        )
    square = np.zeros(source.shape[1:], dtype=np.float32)
    for wanted, got in zip(source, reconstruction, strict=True):  # spares a copy of the image
        square += np.fmin((wanted - np.clip(got, 0, 1)) ** 2, 1) / len(source)  # NaN becomes 1
    return square


def _robust_limit(error: NDArray[np.float32]) -> tuple[float, float]:
    """Give the upper end of the colour scale, above 0, and the largest error."""
    largest = float(error.max())
    return float(np.percentile(error, _PERCENTILE)) or largest or 1.0, largest
