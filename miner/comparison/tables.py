"""The runs as one table: what differs, what became of each, and all its numbers."""

import os
from collections.abc import Sequence
from pathlib import Path

from miner.comparison.comparison import Comparison
from miner.comparison.results import Result

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
    for name, result in zip(names, comparison.results, strict=True):
        numbers = result.numbers if result.status == "finished" else {}
        rows.append(
            [
                *(name, comparison.image(result), result.seed, result.status),
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
