"""All that the page shows, in plain lists and mappings."""

from collections.abc import Mapping
from typing import Any

from miner.comparison.comparison import Comparison
from miner.comparison.differences import Difference, Pairing
from miner.comparison.equal_cost import differences_at_equal_cost, sweeps_along
from miner.comparison.estimate import describe
from miner.comparison.labels import COSTS, MAIN, name, title, unit
from miner.comparison.results import CURVE, Result
from miner.comparison.settings import settings
from miner.comparison.tables import run_names

_QUALITIES = ("psnr_db", "ssim")
_NO_CHANGE = ("width_px", "height_px", "channels", "threads")
"""Numbers that are no outcome of a fit."""
_MOST_POINTS = 250


def page_data(comparison: Comparison) -> dict[str, Any]:
    """The page's content but for the pictures."""
    metrics = [metric for metric in comparison.metrics if metric not in _NO_CHANGE]
    names = run_names(comparison.results)
    return {
        "factors": {factor: comparison.values(factor) for factor in comparison.factors},
        "images": comparison.images,
        "titles": {metric: title(metric) for metric in {*metrics, *COSTS, *_QUALITIES}},
        "metrics": sorted(metrics, key=lambda metric: metric not in MAIN),
        "main": [metric for metric in MAIN if metric in comparison.metrics],
        "costs": COSTS,
        "runs": [
            _run(comparison, result, name)
            for name, result in zip(names, comparison.results, strict=True)
        ],
        "settings": [{"values": each.values, "runs": each.runs} for each in settings(comparison)],
        "differences": {
            factor: _differences(comparison, factor, metrics) for factor in comparison.factors
        },
    }


def _run(comparison: Comparison, result: Result, name: str) -> dict[str, Any]:
    finished = result.status == "finished"
    return {
        "name": name,
        "image": comparison.image(result),
        "seed": result.seed,
        "status": result.status,
        "reason": " ".join(result.reason.split()),
        "values": {factor: comparison.value(result, factor) for factor in comparison.factors},
        "numbers": result.numbers if finished else {},
        "curve": _curve(result) if finished else None,
    }


def _curve(result: Result) -> Mapping[str, list[float | None]] | None:
    """The run's curve, thinned out; the last point stays."""
    n_points = len(result.curve.get("step", ()))
    if not n_points:
        return None
    every = -(-n_points // _MOST_POINTS)
    kept = [i for i in range(n_points) if (n_points - 1 - i) % every == 0]
    return {
        name: [None if (value := result.curve[name][i]) is None else round(value, 4) for i in kept]
        for name in CURVE
    }


def _differences(comparison: Comparison, factor: str, metrics: list[str]) -> dict[str, Any]:
    """By what is held equal, then by metric."""
    pairing = Pairing(comparison, factor)
    found = {"all else equal": {metric: pairing.differences(metric) for metric in metrics}}
    for along in sweeps_along(comparison):
        for cost in COSTS if along != factor else ():
            equal = {
                metric: differences_at_equal_cost(comparison, factor, along, cost, metric)
                for metric in _QUALITIES
            }
            if any(equal.values()):
                found[f"equal {name(cost)}, along {along}"] = equal
    return {
        basis: {metric: [_line(each) for each in own] for metric, own in by_metric.items()}
        for basis, by_metric in found.items()
    }


def _line(difference: Difference) -> dict[str, Any]:
    amount = difference.estimate
    return {
        "pair": f"{difference.value} − {difference.baseline}",
        "setting": ", ".join(f"{name}={value}" for name, value in difference.setting.items()),
        "text": describe(amount, unit(difference.metric)),
        "mean": amount.mean,
        "half_width": amount.half_width,
    }
