"""`comparison.md`: the comparison as a short text."""

from collections.abc import Iterator, Sequence

from miner.comparison.comparison import Comparison
from miner.comparison.differences import paired_differences
from miner.comparison.equal_cost import differences_at_equal_cost, sweeps_along
from miner.comparison.front import pareto_front
from miner.comparison.labels import COSTS, name, title
from miner.comparison.settings import Setting, settings
from miner.comparison.summary import counts, overall
from miner.comparison.tables import run_names

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
