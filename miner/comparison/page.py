"""The comparison as an HTML page, and the three files that a comparison writes."""

import csv
from base64 import b64encode
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from miner.comparison.comparison import MAIN, Comparison, title
from miner.comparison.runs import Result
from miner.comparison.text import counts, markdown, number_text, table
from miner.support.files import atomic_write

THUMBNAILS = ("reconstruction", "blocks", "error")  # of one size, each shows the whole image


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

    from miner.comparison.plots import plot_curves, plot_differences, plot_quality

    loader = PackageLoader("miner.comparison", "page")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.filters.update(number=number_text, title=title)
    tables = Path(options.dt_bundle)  # DataTables and its extensions, packed for offline use
    return environment.get_template("page.html.j2").render(
        counts=counts(comparison),
        comparison=comparison,
        main=[metric for metric in MAIN if metric in comparison.metrics],
        differences=plot_differences(comparison),
        quality=plot_quality(comparison),
        curves=plot_curves(comparison),
        pictures=[(run, _thumbnails(run)) for run in comparison.results],
        plotly_script=get_plotlyjs(),
        tables_script=tables.read_text(),
        tables_style=tables.with_suffix(".css").read_text(),
    )


def _thumbnails(result: Result) -> dict[str, str]:
    """The run's stored thumbnails as `data:` addresses."""
    paths = {name: result.folder / "thumbnails" / f"{name}.webp" for name in THUMBNAILS}
    return {
        name: f"data:image/webp;base64,{b64encode(path.read_bytes()).decode()}"
        for name, path in paths.items()
        if path.is_file()
    }


def _tab_separated(comparison: Comparison) -> str:
    columns, rows = table(comparison)
    text = StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerows([columns, *rows])  # None is written as nothing
    return text.getvalue()
