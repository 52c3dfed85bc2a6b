"""The comparison as an HTML page, and the three files that a comparison writes."""

import csv
from base64 import b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

from miner.comparison.comparison import COSTS, MAIN, Comparison, label, title
from miner.comparison.differences import Difference, paired_differences
from miner.comparison.runs import CURVE, Result
from miner.comparison.statistics import describe
from miner.comparison.text import counts, markdown, number_text, table
from miner.support.files import atomic_write

THUMBNAILS = ("reconstruction", "blocks", "error")  # of one size, each shows the whole image
_NO_OUTCOMES = ("width_px", "height_px", "channels", "threads")
_MOST_POINTS = 250


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


def page(comparison: Comparison) -> str:
    """The page's whole text. Everything read from files is escaped by the template."""
    from itables import options
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    loader = PackageLoader("miner.comparison", "page")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    as_json = {"allow_nan": False, "separators": (",", ":"), "default": _line}
    environment.policies["json.dumps_kwargs"] = as_json
    environment.filters["number"] = number_text
    tables = Path(options.dt_bundle)  # DataTables and its extensions, packed for offline use
    with ThreadPoolExecutor() as pool:
        thumbnails = list(pool.map(_thumbnails, comparison.results))
    return environment.get_template("page.html.j2").render(
        counts=counts(comparison),
        data=_page_data(comparison),
        main=[metric for metric in MAIN if metric in comparison.metrics],
        thumbnails=thumbnails,
        plotly_script=get_plotlyjs(),
        tables_script=tables.read_text(),
        tables_style=tables.with_suffix(".css").read_text(),
    )


def _page_data(comparison: Comparison) -> dict[str, Any]:
    """The page's content but for the pictures."""
    metrics = [metric for metric in comparison.metrics if metric not in _NO_OUTCOMES]
    metrics.sort(key=lambda metric: metric not in MAIN)
    factors = comparison.factors
    return {
        "factors": factors,
        "images": list(dict.fromkeys(result.image for result in comparison.results)),
        "titles": {metric: title(metric) for metric in {*metrics, *COSTS}},
        "costs": COSTS,
        "runs": [
            {
                "name": result.name,
                "image": result.image,
                "seed": result.seed,
                "status": result.status,
                "reason": " ".join(result.reason.split()),
                "values": dict(zip(factors, comparison.setting(result), strict=True)),
                "numbers": result.numbers,
                "curve": _curve(result) if result.status == "finished" else None,
            }
            for result in comparison.results
        ],
        "differences": {
            name: {metric: paired_differences(comparison, name, metric) for metric in metrics}
            for name in factors
        },
    }


def _curve(result: Result) -> dict[str, list[float | None]] | None:
    """The columns of the run's curve, thinned out to its last point, with a gap between levels."""
    if not result.curve:
        return None
    every = -(-len(result.curve) // _MOST_POINTS)
    points: list[tuple[float | None, ...]] = []
    for point in reversed(result.curve[::-every]):
        if points and point[0] != points[-1][0]:
            points.append((*point[:-1], None))
        points.append(point)
    return {
        name: [None if value is None else round(value, 4) for value in column]
        for name, column in zip(CURVE, zip(*points, strict=True), strict=True)
    }


def _line(difference: Difference) -> dict[str, Any]:
    amount = difference.estimate
    return {
        "pair": f"{difference.value} − {difference.baseline}",
        "setting": ", ".join(f"{name}={value}" for name, value in difference.setting.items()),
        "text": describe(amount, label(difference.metric)[1]),
        "mean": amount.mean,
        "half_width": amount.half_width,
    }


def _thumbnails(result: Result) -> dict[str, str]:
    """The run's stored thumbnails as `data:` addresses."""
    found = {}
    for name in THUMBNAILS:
        try:
            content = (result.folder / "thumbnails" / f"{name}.webp").read_bytes()
        except OSError:
            continue
        found[name] = f"data:image/webp;base64,{b64encode(content).decode('ascii')}"
    return found


def _tab_separated(comparison: Comparison) -> str:
    columns, rows = table(comparison)
    text = StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerows([columns, *rows])  # None is written as nothing
    return text.getvalue()
