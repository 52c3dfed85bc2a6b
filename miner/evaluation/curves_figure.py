"""The figure of quality against steps and time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from miner.evaluation.display import LEGEND_ROW_INCHES, describe_level, level_colour, save_png

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
