"""The comparison as text: TSV, Markdown, and lines for a terminal."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from miner.comparison.comparison import COSTS, Comparison, name, title
from miner.comparison.differences import (
    Difference,
    differences_at_equal_cost,
    paired_differences,
    sweeps_along,
)
from miner.comparison.runs import Result
from miner.comparison.settings import Setting, settings
from miner.comparison.statistics import pareto_front

Cell = str | float | None


def table(comparison: Comparison) -> tuple[list[str], list[list[Cell]]]:
    """Columns and one row per run; None stands for a number that a run does not have.

    The columns are `run`, `image`, `seed`, `status`, the factors, the reports' numbers and
    `reason`, of a failure.
    """
    factors, metrics = comparison.factors, comparison.metrics
    columns = ["run", "image", "seed", "status", *factors, *metrics, "reason"]
    names = run_names(comparison.results)
    rows: list[list[Cell]] = []
    for run, result in zip(names, comparison.results, strict=True):
        numbers = result.numbers if result.status == "finished" else {}
        rows.append(
            [
                *(run, comparison.image(result), result.seed, result.status),
                *(comparison.value(result, factor) for factor in factors),
                *(numbers.get(metric) for metric in metrics),
                " ".join(result.reason.split()),
            ]
        )
    return columns, rows


def run_names(results: Sequence[Result]) -> list[str]:
    """Each run's folder, from where all of them lie."""
    folders = [result.folder.resolve() for result in results]
    if not folders:
        return []
    shared = Path(os.path.commonpath([folder.parent for folder in folders]))
    return [str(folder.relative_to(shared)) for folder in folders]


_MOST_LINES = 6


def counts(comparison: Comparison) -> str:
    """How many runs there are, and what became of them."""
    found = Counter(result.status for result in comparison.results)
    n_runs = len(comparison.results)
    parts = ", ".join(f"{n} {status}" for status, n in found.items())
    return f"{n_runs} run{'' if n_runs == 1 else 's'}: {parts or 'none'}"


def summary_lines(comparison: Comparison) -> list[str]:
    """The counts, then what each factor is worth in PSNR, also at equal parameters."""
    lines = [counts(comparison)]
    for factor in comparison.factors:
        found = overall(paired_differences(comparison, factor, "psnr_db"))
        lines += [f"{factor}: {each}" for each in found[:_MOST_LINES]]
        if len(found) > _MOST_LINES:
            lines.append(f"{factor}: {len(found) - _MOST_LINES} more in comparison.md")
        if not found:
            lines.append(f"{factor}: no two finished runs differ in it alone")
        lines += [
            f"{factor}: {each}, at equal {name(COSTS[0])} along {along}"
            for along in sweeps_along(comparison)
            if along != factor
            for each in overall(differences_at_equal_cost(comparison, factor, along, COSTS[0]))[
                :_MOST_LINES
            ]
        ]
    return lines


def overall(differences: list[Difference]) -> list[Difference]:
    """Those over all settings, without those in each one."""
    return [each for each in differences if not each.setting]


_MOST_REASONS = 20


_MOST_SETTINGS = 100


_SHOWN = ("psnr_db", "ssim", *COSTS)


def markdown(comparison: Comparison) -> str:
    """The whole text."""
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
    names = run_names(comparison.results)
    failed = [
        f"- {_plain(run)} ({_plain(comparison.image(result))}): {result.status}"
        + (f": {_plain(result.reason)}" if result.reason else "")
        for run, result in zip(names, comparison.results, strict=True)
        if result.status != "finished"
    ]
    if failed:
        yield from ("", "## Without a result", "", *failed[:_MOST_REASONS])
    if len(failed) > _MOST_REASONS:
        yield f"- {len(failed) - _MOST_REASONS} more in comparison.tsv"


def _settings(comparison: Comparison) -> Iterator[str]:
    if not comparison.finished:
        return
    metrics = [metric for metric in _SHOWN if metric in comparison.metrics]
    found = [each for each in settings(comparison) if each.n_finished]
    front = _front(found)
    yield from ("", "## Settings", "", "Means over seeds, then over images; * is on the front of")
    yield from ("PSNR against parameters. A setting that lacks images is in brackets.", "")
    heads = [*comparison.factors, "images", "runs", *map(title, metrics), "front"]
    yield _row(heads)
    yield _row(
        ["---"] * len(comparison.factors)
        + ["---:"] * (len(heads) - 1 - len(comparison.factors))
        + ["---"]
    )
    for each in found[:_MOST_SETTINGS]:
        numbers = [_number(each.numbers.get(metric)) for metric in metrics]
        shown = numbers if each.complete else [f"({number})" for number in numbers]
        counted = [str(each.n_images), str(each.n_finished)]
        yield _row([*each.values.values(), *counted, *shown, "*" if each in front else ""])
    if len(found) > _MOST_SETTINGS:
        yield from ("", f"{len(found) - _MOST_SETTINGS} more settings are in comparison.tsv.")


def _front(found: Sequence[Setting]) -> list[Setting]:
    known = [s for s in found if s.complete and {COSTS[0], "psnr_db"} <= s.numbers.keys()]
    costs = [each.numbers[COSTS[0]] for each in known]
    return [known[i] for i in pareto_front(costs, [each.numbers["psnr_db"] for each in known])]


def _differences(comparison: Comparison) -> Iterator[str]:
    if comparison.factors:
        yield from ("", "## What each setting is worth", "")
        yield "Same image, same seed, all else equal; 95 % intervals over images."
    for factor in comparison.factors:
        yield from ("", f"### {_plain(factor)}", "")
        found = False
        for metric in ("psnr_db", *COSTS):
            for each in overall(paired_differences(comparison, factor, metric)):
                yield f"- {name(metric)}: {_plain(str(each))}"
                found = True
        if not found:
            yield "- no two finished runs differ in it alone"
        for along in sweeps_along(comparison):
            for cost in COSTS if along != factor else ():
                for each in overall(differences_at_equal_cost(comparison, factor, along, cost)):
                    yield f"- PSNR at equal {name(cost)} along {_plain(along)}: {_plain(str(each))}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_plain, cells)) + " |"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    for sign in "\\`<>|*[]":
        text = text.replace(sign, f"&#{ord(sign)};" if sign in "<>|" else f"\\{sign}")
    return " ".join(text.split())
