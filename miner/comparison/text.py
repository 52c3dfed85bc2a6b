"""The comparison as text: a table, Markdown, and lines for a terminal."""

from collections import Counter
from collections.abc import Iterator, Sequence

from miner.comparison.comparison import COSTS, QUALITIES, Comparison, label, title
from miner.comparison.differences import estimate, paired_differences, pareto_front
from miner.comparison.runs import Result

Cell = str | float | None

_MOST_LINES = 6  # of a factor in the summary
_NOTHING = "no two finished runs differ in it alone"


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
        found = paired_differences(comparison, factor, "psnr_db")
        shown = [str(each) for each in found[:_MOST_LINES]] or [_NOTHING]
        lines += [f"{factor}: {line}" for line in shown]
        if len(found) > _MOST_LINES:
            lines.append(f"{factor}: {len(found) - _MOST_LINES} more in comparison.md")
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
    yield "front of PSNR against parameters. A setting that lacks images is in brackets."
    metrics = [metric for metric in (*QUALITIES, *COSTS) if metric in comparison.metrics]
    titles = [*comparison.factors, "images", "runs", *map(title, metrics), "Pareto front"]
    rule = ["---"] * len(comparison.factors) + ["---:"] * (2 + len(metrics)) + ["---"]
    yield from ("", _row(titles), _row(rule))
    averages = {values: means(runs, metrics) for values, runs in groups.items()}
    n_images = {values: len({run.image for run in runs}) for values, runs in groups.items()}
    n_all = len({result.image for result in comparison.finished})
    whole = [
        values
        for values in groups
        if n_images[values] == n_all and {"psnr_db", COSTS[0]} <= averages[values].keys()
    ]
    costs, psnr = ([averages[values][name] for values in whole] for name in (COSTS[0], "psnr_db"))
    front = [whole[i] for i in pareto_front(costs, psnr)]
    for values, runs in groups.items():
        numbers = [number_text(averages[values].get(metric)) for metric in metrics]
        if n_images[values] < n_all:
            numbers = [f"({number})" for number in numbers]
        counted = [str(n_images[values]), str(len(runs))]
        yield _row([*values, *counted, *numbers, "*" if values in front else ""])


def means(runs: Sequence[Result], metrics: Sequence[str]) -> dict[str, float]:
    """Means over runs, then over images, of the numbers that every image has."""
    found = {}
    for metric in metrics:
        known = [run for run in runs if metric in run.numbers]
        if {run.image for run in known} == {run.image for run in runs}:
            samples = [(run.image, run.name, run.numbers[metric]) for run in known]
            found[metric] = estimate(samples).mean
    return found


def _differences(comparison: Comparison) -> Iterator[str]:
    if comparison.factors:
        yield from ("", "## What each setting is worth", "")
        yield "Same image, same seed, all else equal; 95 % intervals over images."
    for factor in comparison.factors:
        yield from ("", f"### {_plain(factor)}", "")
        lines = [
            f"{label(metric)[0]}: {each}"
            for metric in ("psnr_db", *COSTS)
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
