"""A comparison as a table, lines for a terminal, Markdown and an HTML page, and their files."""

import csv
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

from miner.comparison.comparison import COSTS, MAIN, QUALITIES, Comparison, label, title
from miner.comparison.differences import means, paired_differences, pareto_front
from miner.comparison.runs import Result
from miner.support.files import atomic_write

THUMBNAILS = ("reconstruction", "blocks", "error")  # of one size, each shows the whole image
Cell = str | float | None

_NOTHING = "no two finished runs differ in it alone"


def write_comparison(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write `comparison.tsv`, `.md` and `.html`, each whole or not at all; may raise `OSError`."""
    comparison = Comparison(results)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"comparison.{suffix}" for suffix in ("tsv", "md", "html")]
    columns, rows = table(comparison)
    tab_separated = StringIO()  # None is written as nothing
    csv.writer(tab_separated, delimiter="\t", lineterminator="\n").writerows([columns, *rows])
    texts = [tab_separated.getvalue(), markdown(comparison), page(comparison)]
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
    """The run's stored thumbnails as `data:` addresses."""
    paths = {name: result.folder / "thumbnails" / f"{name}.webp" for name in THUMBNAILS}
    return {
        name: f"data:image/webp;base64,{b64encode(path.read_bytes()).decode()}"
        for name, path in paths.items()
        if path.is_file()
    }


def table(comparison: Comparison) -> tuple[list[str], list[list[Cell]]]:
    """Columns and one row per run; None stands for a number that a run does not have."""
    first = ["run", "image", "seed", "status"]
    rows: list[list[Cell]] = [
        [
            *(result.name, result.image, result.seed, result.status),
            *comparison.setting(result),
            *(result.numbers.get(metric) for metric in comparison.metrics),
            " ".join(result.reason.split()),
        ]
        for result in comparison.results
    ]
    return [*first, *comparison.factors, *comparison.metrics, "reason"], rows


def counts(comparison: Comparison) -> str:
    """How many runs there are, by status."""
    found = Counter(result.status for result in comparison.results)
    n_runs = len(comparison.results)
    shown = ", ".join(f"{n} {status}" for status, n in found.items()) or "none"
    return f"{n_runs} run{'' if n_runs == 1 else 's'}: {shown}"


def number_text(value: float | None) -> str:
    """A number for people, with some four digits; a dash for None."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def summary_lines(comparison: Comparison) -> list[str]:
    """The counts, then each factor's differences in PSNR."""
    lines = [counts(comparison)]
    for factor in comparison.factors:
        found = map(str, paired_differences(comparison, factor, "psnr_db"))
        lines += [f"{factor}: {line}" for line in list(found) or [_NOTHING]]
    return lines


def markdown(comparison: Comparison) -> str:
    """The whole text: failures, a table of settings, and the factors' differences."""
    lines = ["# Comparison", "", f"{counts(comparison)}."]
    failed = [
        f"- {_plain(result.name)} ({_plain(result.image)}): {result.status}"
        + (f": {_plain(result.reason)}" if result.reason else "")
        for result in comparison.results
        if result.status != "finished"
    ]
    if failed:
        lines += ["", "## Without a result", "", *failed]
    return "\n".join([*lines, *_settings(comparison), *_differences(comparison), ""])


def _settings(comparison: Comparison) -> Iterator[str]:
    groups = comparison.by_setting
    if not groups:
        return
    yield from ("", "## Settings", "", "Means over seeds, then over images; * is on the Pareto")
    yield "front of PSNR against parameters, which settings that lack images are not compared for."
    metrics = [m for m in (*QUALITIES, *comparison.added, *COSTS) if m in comparison.metrics]
    titles = [*comparison.factors, "images", "runs", *map(title, metrics), "Pareto front"]
    rule = ["---"] * len(comparison.factors) + ["---:"] * (2 + len(metrics)) + ["---"]
    yield from ("", _row(titles), _row(rule))
    averages = {values: means(runs, metrics) for values, runs in groups.items()}
    axes = (COSTS[0], "psnr_db")
    whole = [values for values in comparison.whole_settings if {*axes} <= averages[values].keys()]
    costs, psnr = ([averages[values][name] for values in whole] for name in axes)
    front = [whole[i] for i in pareto_front(costs, psnr)]
    for values, runs in groups.items():
        numbers = [number_text(averages[values].get(metric)) for metric in metrics]
        counted = [str(len({run.image for run in runs})), str(len(runs))]
        yield _row([*values, *counted, *numbers, "*" if values in front else ""])


def _differences(comparison: Comparison) -> Iterator[str]:
    if comparison.factors:
        yield from ("", "## What each setting is worth", "")
        yield "Same image, same seed, all else equal; 95 % intervals over images."
    for factor in comparison.factors:
        yield from ("", f"### {_plain(factor)}", "")
        lines = [
            f"{label(metric)[0]}: {each}"
            for metric in ("psnr_db", *comparison.added, *COSTS)
            for each in paired_differences(comparison, factor, metric)
        ]
        yield from (f"- {_plain(line)}" for line in lines or [_NOTHING])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_plain, cells)) + " |"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    for sign in "\\`<>|*[]":
        text = text.replace(sign, f"&#{ord(sign)};" if sign in "<>|" else f"\\{sign}")
    return " ".join(text.split())
