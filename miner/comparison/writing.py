"""A comparison as a table, lines for a terminal and an HTML page, and their files."""

import csv
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from miner.comparison.comparison import MAIN, Comparison, means, title
from miner.comparison.runs import Result
from miner.support.files import atomic_write
from miner.support.run_files import claim, record_digests

COMPARISON = ("comparison.tsv", "comparison.html")
THUMBNAILS = ("reconstruction", "blocks", "error")  # of one size, each shows the whole image
Cell = str | float | None


def write_comparison(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write `comparison.tsv` and `.html`; `ConfigError` where other files have these names."""
    claim(folder, *COMPARISON)
    comparison = Comparison(results)
    paths = [folder / name for name in COMPARISON]
    columns, rows = table(comparison)
    tab_separated = StringIO()
    csv.writer(tab_separated, delimiter="\t", lineterminator="\n").writerows([columns, *rows])
    for path, text in zip(paths, (tab_separated.getvalue(), page(comparison)), strict=True):
        with atomic_write(path) as scratch:  # names of files need not be UTF-8
            scratch.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    record_digests(folder)
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
        means=means,
        main=[name for name in (*MAIN, *comparison.added) if name in comparison.metrics],
        differences=plot_differences(comparison),
        quality="".join(plot_quality(comparison, one) for one in ("psnr_db", *comparison.added)),
        curves=plot_curves(comparison),
        pictures=[(run, _thumbnails(run)) for run in comparison.results],
        plotly_script=get_plotlyjs(),
        tables_script=tables.read_text(),
        tables_style=tables.with_suffix(".css").read_text(),
    )


def _thumbnails(result: Result) -> dict[str, str]:
    paths = {name: result.folder / "thumbnails" / f"{name}.webp" for name in THUMBNAILS}
    return {
        name: f"data:image/webp;base64,{b64encode(path.read_bytes()).decode()}"
        for name, path in paths.items()
        if path.is_file()
    }


def table(comparison: Comparison) -> tuple[list[str], list[list[Cell]]]:
    """Columns and one row per run; None stands for a number that a run does not have."""
    rows: list[list[Cell]] = []
    for run in comparison.results:
        numbers = [run.numbers.get(metric) for metric in comparison.metrics]
        first = run.name, run.image, run.seed, run.outcome, *comparison.setting(run)
        rows.append([*first, *numbers, " ".join(run.reason.split())])
    names = *comparison.factors, *comparison.metrics
    return ["run", "image", "seed", "status", *names, "reason"], rows


def counts(comparison: Comparison) -> str:
    """How many runs there are, by outcome."""
    found = Counter(result.outcome for result in comparison.results)
    shown = ", ".join(f"{n} {status}" for status, n in found.items())
    n_runs = len(comparison.results)
    return f"{n_runs} run{'' if n_runs == 1 else 's'}: {shown or 'none'}"


def number_text(value: float | None) -> str:
    """A number for people, with some four digits; a dash for None."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def summary_lines(comparison: Comparison) -> list[str]:
    """The counts, then each factor's differences in PSNR."""
    lines = [counts(comparison)]
    for factor in comparison.factors:
        found = [*map(str, comparison.differences(factor, "psnr_db"))]
        lines += [f"{factor}: {line}" for line in found or ["no two finished runs share the rest"]]
    return lines
