"""The comparison as an HTML page."""

import csv
from base64 import b64encode
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from miner.comparison.comparison import COSTS, MAIN, Comparison, name, title, unit
from miner.comparison.differences import (
    Difference,
    Pairing,
    differences_at_equal_cost,
    sweeps_along,
)
from miner.comparison.runs import CURVE, THUMBNAIL_SIDE, THUMBNAILS, Result
from miner.comparison.settings import settings
from miner.comparison.statistics import describe
from miner.comparison.text import counts, markdown, run_names, table
from miner.support.files import atomic_write

_MOST_PIXELS = 2**22
"""Larger pictures are not reduced, as that takes a noticeable time."""


def pictures(results: Sequence[Result]) -> list[dict[str, str]]:
    """For each run, which of its thumbnails there are, as `data:` addresses.

    Of an older run without any, the reconstruction is reduced.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_pictures, results))


def _pictures(result: Result) -> dict[str, str]:
    paths = {name: result.thumbnail(name) for name in THUMBNAILS}
    found = {name: _stored(path) for name, path in paths.items() if path}
    return {name: each for name, each in (found or _reduced(result.folder)).items() if each}


def _stored(path: Path) -> str | None:
    try:
        return _address(path.read_bytes())
    except OSError:
        return None


def _reduced(folder: Path) -> dict[str, str | None]:
    from PIL import Image

    try:
        with Image.open(folder / "reconstruction.png", formats=["PNG"]) as image:
            if image.width * image.height > _MOST_PIXELS:
                return {}
            small: Any = image.convert("RGB")
            small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), reducing_gap=2)
            content = BytesIO()
            small.save(content, "WEBP", quality=80, method=2)
    except (OSError, ValueError, SyntaxError):  # none, or a broken one
        return {}
    return {"reconstruction": _address(content.getvalue())}


def _address(content: bytes) -> str:
    return f"data:image/webp;base64,{b64encode(content).decode('ascii')}"


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


_SCRIPTS = ("controls", "runs_table", "differences", "quality", "curves", "pictures", "page")


def page(comparison: Comparison) -> str:
    """The page's whole text. Everything read from files is escaped by the template."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("miner.comparison", "page")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment.get_template("page.html.j2").render(
        counts=counts(comparison),
        data=page_data(comparison),
        pictures=pictures(comparison.results),
        own_style=_own("page.css"),
        own_script="\n".join(_own(f"{name}.js") for name in _SCRIPTS),
        **_libraries(),
    )


def _own(name: str) -> str:
    return (files("miner.comparison") / "page" / name).read_text()


def _libraries() -> dict[str, str]:
    """Plotly, and DataTables with its extensions as itables packs them for offline use."""
    from itables import options
    from plotly.offline import get_plotlyjs

    tables = Path(options.dt_bundle)
    return {
        "plotly_script": get_plotlyjs(),
        "tables_script": tables.read_text(),
        "tables_style": tables.with_suffix(".css").read_text(),
    }


def write_comparison(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write `comparison.tsv`, `comparison.md` and `comparison.html`, each whole or not at all.

    Raises:
        OSError: the folder cannot be written to.
    """
    comparison = Comparison(results)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"comparison.{suffix}" for suffix in ("tsv", "md", "html")]
    texts = [_tab_separated(comparison), markdown(comparison), page(comparison)]
    for path, text in zip(paths, texts, strict=True):
        with atomic_write(path) as scratch:  # names of files need not be UTF-8
            scratch.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    return paths


def _tab_separated(comparison: Comparison) -> str:
    columns, rows = table(comparison)
    text = StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)  # None is written as nothing
    return text.getvalue()
