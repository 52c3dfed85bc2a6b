"""The comparison as text: a table, Markdown, and lines for a terminal."""

from collections import Counter
from collections.abc import Iterator, Sequence

from miner.comparison.comparison import COSTS, Comparison, Setting, label, title
from miner.comparison.differences import (
    differences_at_equal_cost,
    overall,
    paired_differences,
    sweeps_beyond,
)
from miner.comparison.statistics import pareto_front

Cell = str | float | None

_MOST_LINES = 6  # of a factor in the summary
_MOST_REASONS = 20
_MOST_SETTINGS = 100
_SHOWN = ("psnr_db", "ssim", *COSTS)
_NOTHING = "no two finished runs differ in it alone"


def table(comparison: Comparison) -> tuple[list[str], list[list[Cell]]]:
    """Columns and one row per run; None stands for a number that a run does not have.

    The columns are `run`, `image`, `seed`, `status`, the factors, the reports' numbers and
    `reason`, of a failure.
    """
    factors, metrics = comparison.factors, comparison.metrics
    columns = ["run", "image", "seed", "status", *factors, *metrics, "reason"]
    rows: list[list[Cell]] = [
        [
            *(result.name, result.image, result.seed, result.status),
            *(comparison.value(result, factor) for factor in factors),
            *(result.numbers.get(metric) for metric in metrics),
            " ".join(result.reason.split()),
        ]
        for result in comparison.results
    ]
    return columns, rows


def counts(comparison: Comparison) -> str:
    """How many runs there are, by status."""
    found = Counter(result.status for result in comparison.results)
    n_runs = len(comparison.results)
    parts = ", ".join(f"{n} {status}" for status, n in found.items())
    return f"{n_runs} run{'' if n_runs == 1 else 's'}: {parts or 'none'}"


def number_text(value: float | None) -> str:
    """A number for people, with some four digits; a dash for None."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def summary_lines(comparison: Comparison) -> list[str]:
    """The counts, then each factor's differences in PSNR, also at equal parameters."""
    lines = [counts(comparison)]
    for factor in comparison.factors:
        found = [str(each) for each in overall(paired_differences(comparison, factor, "psnr_db"))]
        shown = found[:_MOST_LINES] or [_NOTHING]
        if len(found) > _MOST_LINES:
            shown.append(f"{len(found) - _MOST_LINES} more in comparison.md")
        for along in sweeps_beyond(comparison, factor):
            equal = overall(differences_at_equal_cost(comparison, factor, along, COSTS[0]))
            note = f"at equal {label(COSTS[0])[0]} along {along}"
            shown += [f"{each}, {note}" for each in equal[:_MOST_LINES]]
        lines += [f"{factor}: {line}" for line in shown]
    return lines


def markdown(comparison: Comparison) -> str:
    """The whole text: failures, a table of settings, and the factors' differences."""
    lines = [
        "# Comparison",
        "",
        f"{counts(comparison)}.",
        *_failures(comparison),
        *_settings(comparison),
        *_differences(comparison),
    ]
    return "\n".join(lines) + "\n"


def _failures(comparison: Comparison) -> Iterator[str]:
    failed = [
        f"- {_plain(result.name)} ({_plain(result.image)}): {result.status}"
        + (f": {_plain(result.reason)}" if result.reason else "")
        for result in comparison.results
        if result.status != "finished"
    ]
    if failed:
        yield from ("", "## Without a result", "", *failed[:_MOST_REASONS])
    if len(failed) > _MOST_REASONS:
        yield f"- {len(failed) - _MOST_REASONS} more in comparison.tsv"


def _settings(comparison: Comparison) -> Iterator[str]:
    found = comparison.settings
    if not found:
        return
    metrics = [metric for metric in _SHOWN if metric in comparison.metrics]
    front = _pareto_settings(found)
    yield from ("", "## Settings", "", "Means over seeds, then over images; * is on the Pareto")
    yield "front of PSNR against parameters. A setting that lacks images is in brackets."
    yield ""
    titles = [*comparison.factors, "images", "runs", *map(title, metrics), "Pareto front"]
    n_factors = len(comparison.factors)
    yield _row(titles)
    yield _row(["---"] * n_factors + ["---:"] * (len(titles) - 1 - n_factors) + ["---"])
    for each in found[:_MOST_SETTINGS]:
        numbers = [number_text(each.numbers.get(metric)) for metric in metrics]
        shown = numbers if each.complete else [f"({number})" for number in numbers]
        counted = [str(each.n_images), str(each.n_finished)]
        yield _row([*each.values, *counted, *shown, "*" if each in front else ""])
    if len(found) > _MOST_SETTINGS:
        yield from ("", f"{len(found) - _MOST_SETTINGS} more settings are in comparison.tsv.")


def _pareto_settings(found: Sequence[Setting]) -> list[Setting]:
    known = [s for s in found if s.complete and {COSTS[0], "psnr_db"} <= s.numbers.keys()]
    costs = [each.numbers[COSTS[0]] for each in known]
    return [known[i] for i in pareto_front(costs, [each.numbers["psnr_db"] for each in known])]


def _differences(comparison: Comparison) -> Iterator[str]:
    if comparison.factors:
        yield from ("", "## What each setting is worth", "")
        yield "Same image, same seed, all else equal; 95 % intervals over images."
    for factor in comparison.factors:
        yield from ("", f"### {_plain(factor)}", "")
        lines = [
            f"{label(metric)[0]}: {each}"
            for metric in ("psnr_db", *COSTS)
            for each in overall(paired_differences(comparison, factor, metric))
        ]
        equal = [
            f"PSNR at equal {label(cost)[0]} along {along}: {each}"
            for along in sweeps_beyond(comparison, factor)
            for cost in COSTS
            for each in overall(differences_at_equal_cost(comparison, factor, along, cost))
        ]
        yield from (f"- {_plain(line)}" for line in [*(lines or [_NOTHING]), *equal])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_plain, cells)) + " |"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    for sign in "\\`<>|*[]":
        text = text.replace(sign, f"&#{ord(sign)};" if sign in "<>|" else f"\\{sign}")
    return " ".join(text.split())
