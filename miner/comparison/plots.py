"""The plots of a comparison's page; Plotly reads text as HTML, so that of files is escaped."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from plotly.colors import sample_colorscale
from plotly.graph_objects import Figure
from plotly.io import to_html
from plotly.subplots import make_subplots

from miner.comparison.comparison import COSTS, MAIN, Comparison, means, pareto_front, title
from miner.comparison.runs import CURVE, Result, is_number

_MOST_DIFFERENCES = 40  # of a factor
_MOST_CURVES, _MOST_POINTS = 100, 80


class _Line(NamedTuple):
    """A run's curve, or the point of one or more runs."""

    text: str
    values: Mapping[str, str]  # by which it is coloured
    columns: Sequence[Sequence[Any]]  # numbers or None: each cost, then the quality


def plot_differences(comparison: Comparison) -> str:
    """Each factor's differences over all settings, in a metric that a menu chooses."""
    figure = Figure()
    colours = _colours(comparison.factors)
    for metric in sorted(comparison.metrics, key=lambda metric: metric not in MAIN):
        for factor in comparison.factors:
            if found := comparison.differences(factor, metric)[:_MOST_DIFFERENCES]:
                figure.add_scatter(
                    x=[each.estimate.mean for each in found],
                    y=[_safe(f"{factor}: {each}") for each in found],
                    error_x_array=[each.estimate.half_width or 0 for each in found],
                    mode="markers",
                    marker={"color": colours[factor], "size": 9},
                    name=_safe(factor),
                    meta=_safe(f"difference in {title(metric)}"),
                    hoverinfo="x",
                )
    figure.update_xaxes(rangemode="tozero", zerolinecolor="#9aa5b1")
    figure.update_yaxes(type="category", autorange="reversed", automargin=True, ticklabelstandoff=9)
    n_lines = sum(len(trace.x) for trace in figure.data if trace.meta == figure.data[0].meta)
    return _html(figure, "differences", 160 + 26 * n_lines)


def plot_quality(comparison: Comparison, quality: str = "psnr_db") -> str:
    """A quality over each cost of settings with all images and their Pareto front, else of runs."""
    metrics, names = (*COSTS, quality), list(comparison.factors) or ["image"]
    groups, lines = comparison.whole_settings.values(), []
    for runs in groups if comparison.factors else ([run] for run in comparison.finished):
        numbers, values = means(runs, metrics), _values(comparison, runs[0])
        if quality in numbers:
            text = runs[0].name if len(runs) == 1 else f"mean of {len(runs)} runs"
            text += "".join(f"\n{name}={values[name]}" for name in names)
            lines.append(_Line(text, values, [[numbers.get(each)] for each in metrics]))
    figure = _panels(lines, names, [_safe(title(each)) for each in metrics], "markers")
    sign = 1 if comparison.added.get(quality, True) else -1
    figure.update_xaxes(type="log", nticks=6, exponentformat="SI")
    for panel in range(len(COSTS)) if comparison.factors else ():
        known = [line.columns for line in lines if line.columns[panel][0]]
        costs, found = [each[panel][0] for each in known], [each[-1][0] for each in known]
        front = pareto_front(costs, [sign * value for value in found])
        x, y = [costs[i] for i in front], [found[i] for i in front]
        style = {"color": "#52606d", "dash": "dash", "shape": "hv", "width": 1.5}
        drawn = figure.add_scatter(x=x, y=y, mode="lines", line=style, row=1, col=panel + 1)
        drawn.data[-1].update(showlegend=False, hoverinfo="skip")
    number = [*comparison.added].index(quality) if quality in comparison.added else ""
    return _html(figure, f"quality{number}")


def plot_curves(comparison: Comparison) -> str:
    """PSNR over steps, seconds and parameters while fitting, with gaps between levels."""
    runs, lines = [run for run in comparison.finished if run.curve], []
    for run in runs[:: max(1, -(-len(runs) // _MOST_CURVES))]:
        _, *columns = zip(*_thinned(run.curve), strict=True)
        lines.append(_Line(run.name, _values(comparison, run), columns))
    titles = [*CURVE[1:-1], title(CURVE[-1])]
    return _html(_panels(lines, [*comparison.factors, "image"], titles, "lines"), "curves")


def _thinned(curve: Sequence[tuple[float | None, ...]]) -> list[tuple[float | None, ...]]:
    """Some of a curve's points, the last among them, with gaps between levels and at the end."""
    points: list[tuple[float | None, ...]] = []
    every = -(-len(curve) // _MOST_POINTS)
    for _, level in groupby(reversed(curve[::-every]), key=itemgetter(0)):
        points += level
        points.append((*points[-1][:-1], None))
    return points


def _panels(
    lines: Sequence[_Line], names: Sequence[str], titles: Sequence[str], mode: str
) -> Figure:
    """The last title over the others; a menu chooses the name whose values give the colours."""
    *costs, quality = titles
    figure = make_subplots(1, len(costs), shared_yaxes=True, horizontal_spacing=0.03)
    figure.update_yaxes(title_text=quality, col=1)
    for name in names:
        for value, colour in _colours([line.values[name] for line in lines]).items():
            chosen = [line for line in lines if line.values[name] == value]
            for panel, cost in enumerate(costs):
                numbers = f"{quality} %{{y:.4~g}}<br>{cost} %{{x:,.4~g}}"
                figure.add_scatter(
                    x=[number for line in chosen for number in line.columns[panel]],
                    y=[number for line in chosen for number in line.columns[-1]],
                    text=[_safe(line.text) for line in chosen for _ in line.columns[-1]],
                    name=_safe(value),
                    legendgroup=_safe(value),
                    showlegend=panel == 0,
                    meta=_safe(f"coloured by {name}"),
                    mode=mode,
                    line={"color": colour, "width": 1.5},
                    marker={"color": colour, "size": 9},
                    hovertemplate=f"%{{text}}<br>{numbers}<extra></extra>",
                    row=1,
                    col=panel + 1,
                )
                figure.update_xaxes(title_text=cost, col=panel + 1)
    return figure


def _html(figure: Figure, name: str, height_px: int = 460) -> str:
    """The figure with a menu of what its traces name as `meta`; the first choice is shown."""
    choices = list(dict.fromkeys(trace.meta for trace in figure.data if trace.meta))
    if not choices:
        return "<p>There is nothing to draw.</p>"
    buttons = []
    for choice in choices:
        visible = [trace.meta in (choice, None) for trace in figure.data]
        buttons.append({"label": choice, "method": "restyle", "args": [{"visible": visible}]})
    figure.for_each_trace(lambda trace: trace.update(visible=trace.meta in (choices[0], None)))
    menu = {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom"}
    figure.update_layout(updatemenus=[menu | {"pad": {"b": 10}, "bgcolor": "#fff"}])
    figure.update_layout(template="plotly_white", height=height_px, margin={"t": 60, "b": 50})
    options = {"responsive": True, "displaylogo": False}
    return str(to_html(figure, options, include_plotlyjs=False, full_html=False, div_id=name))


def _values(comparison: Comparison, run: Result) -> dict[str, str]:
    factors = zip(comparison.factors, comparison.setting(run), strict=True)
    return {"image": run.image, **dict(factors)}


def _colours(values: Iterable[str]) -> dict[str, str]:
    """A colour for each value; numbers are ascending."""
    unique = list(dict.fromkeys(values))
    unique.sort(key=lambda value: float(value) if is_number(value) else math.inf)
    places = [(i + 0.5) / len(unique) for i in range(len(unique))]
    return dict(zip(unique, sample_colorscale("Turbo", places), strict=True))


def _safe(text: str) -> str:
    text = text.encode(errors="backslashreplace").decode()  # names of files need not be UTF-8
    return escape(text, quote=False).replace("\n", "<br>")
